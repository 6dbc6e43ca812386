package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
)

// server answers the calls of other nodes, each in a goroutine of the mesh. It has no
// state of its own.
type server struct {
	*node
	leadership  *leadership
	settlements *settlements
	membership  *membership
	recalls     *recalls
	status      *status
}

// handler serves every call.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+callPropose, s.servePropose)
	mux.HandleFunc("POST "+callRead, func(w http.ResponseWriter, r *http.Request) {
		index, err := s.leadership.read(r.Context())
		respond(w, index, err)
	})
	mux.HandleFunc("POST "+callRenew, s.serveRenew)
	mux.HandleFunc("POST "+callReport, s.serveReport)
	mux.HandleFunc("POST "+callStatus, func(w http.ResponseWriter, r *http.Request) {
		got, err := s.status.ofLeader(r.Context())
		respond(w, statusToWire(got), err)
	})
	mux.HandleFunc("POST "+callManage, s.serveManage)
	mux.HandleFunc("POST "+callSettle, s.serveSettle)
	mux.HandleFunc("POST "+callRecall, s.serveRecall)
	mux.HandleFunc("POST "+callYield, s.serveYield)
	mux.HandleFunc("POST "+callShare, s.serveShare)
	mux.HandleFunc("POST "+callAudit, serveOwn(s.Audit))
	mux.HandleFunc("POST "+callObserve, serveOwn(s.Observe))
	return mux
}

func (s *server) servePropose(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, replica.MaxCommand))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), replica.ProposeTimeout)
	defer cancel()
	rc, err := replica.Receipt{}, replica.ErrNotTaken
	if s.r.Leads() {
		rc, err = s.r.CommitForwarded(ctx, raw)
	}
	respond(w, receiptToWire(rc), err)
}

func (s *server) serveSettle(w http.ResponseWriter, r *http.Request) {
	var in settling
	if !readSmall(w, r, &in) {
		return
	}
	out, err := replica.Revocation{}, replica.ErrNotTaken
	if s.r.Leads() && s.r.Store().Applied() >= in.Index {
		ctx, cancel := context.WithTimeout(r.Context(), replica.ProposeTimeout)
		defer cancel()
		out.Effective, out.Nodes, err = s.settlements.settle(ctx, in.Index, s.leadership.term.Load(), s.r.TakesAt(in.Index))
	}
	respond(w, revocationToWire(out), err)
}

func (s *server) serveRenew(w http.ResponseWriter, r *http.Request) {
	var f selfReport
	if !readSmall(w, r, &f) {
		return
	}
	if f.ID != mesh.PeerID(r.Context()) {
		http.Error(w, "a node renews its own lease only", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), renewTimeout)
	defer cancel()
	got, err := s.leadership.grant(ctx, &f)
	respond(w, got, err)
}

func (s *server) serveReport(w http.ResponseWriter, r *http.Request) {
	var rep report
	if !readSmall(w, r, &rep) {
		return
	}
	err := s.leadership.heard(mesh.PeerID(r.Context()), rep)
	respond(w, err == nil, err)
}

func (s *server) serveManage(w http.ResponseWriter, r *http.Request) {
	var h handover
	if !readSmall(w, r, &h) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), replica.ProposeTimeout)
	defer cancel()
	out, err := replica.Revocation{}, replica.ErrNotTaken
	if s.r.Leads() {
		out, err = s.membership.manage(ctx, &h)
	}
	respond(w, revocationToWire(out), err)
}

func (s *server) serveRecall(w http.ResponseWriter, r *http.Request) {
	var in recalling
	if !readSmall(w, r, &in) {
		return
	}
	index, err := uint64(0), replica.ErrNotTaken
	if s.r.Leads() {
		index, err = s.recalls.join(r.Context(), in.asks())
	}
	respond(w, index, err)
}

// serveYield is a node's part of a recall.
func (s *server) serveYield(w http.ResponseWriter, r *http.Request) {
	var in recalling
	if !readSmall(w, r, &in) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), yieldTimeout)
	defer cancel()
	respond(w, struct{}{}, s.Yield(ctx, in.asks()))
}

// serveOwn serves questions about this node's own data.
func serveOwn(answer func(context.Context, []byte) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), ownTimeout)
		defer cancel()
		out, err := answer(ctx, raw)
		respond(w, jsontext.Value(out), err)
	}
}

// ownTimeout bounds the answer of a node about its own data.
const ownTimeout = 20 * time.Second

// AskAudit implements [replica.Operator].
func (c *Cluster) AskAudit(ctx context.Context, id string, body []byte) ([]byte, error) {
	return c.ask(ctx, id, callAudit, body)
}

// AskObserve implements [replica.Operator].
func (c *Cluster) AskObserve(ctx context.Context, id string, body []byte) ([]byte, error) {
	return c.ask(ctx, id, callObserve, body)
}

func (c *Cluster) ask(ctx context.Context, id, path string, body []byte) ([]byte, error) {
	m, ok := c.r.Store().Member(id)
	if !ok {
		return nil, replica.Refuse(replica.ErrNotFound, errors.New("there is no node "+id))
	}
	return call[jsontext.Value](ctx, c.mesh, c.peers.addressOf(id, m.Address), id, path, body)
}

// maxCallBody bounds the small calls, in bytes.
const maxCallBody = 64 << 10

// readSmall reads the JSON of a small call; where that fails, it has answered.
func readSmall(w http.ResponseWriter, r *http.Request, v any) bool {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBody))
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}
