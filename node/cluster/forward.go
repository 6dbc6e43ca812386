package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
)

// The calls between nodes. Each is a POST; a node of a version that does not
// know a call answers 404, so that a call is only ever added.
const (
	callPropose = "/propose"
	callRead    = "/read"
	callRenew   = "/renew"
	callReport  = "/report"
	callStatus  = "/status"
	callManage  = "/manage"
	callSettle  = "/settle"
	callRecall  = "/recall"
	callYield   = "/yield"
)

// call makes a call to the node id at addr. Its error is ErrNotTaken where the
// peer certainly holds nothing of it, else an [replica.Error].
func call[T any](ctx context.Context, m *mesh.Mesh, addr, id, path string, body []byte) (T, error) {
	var out reply[T]
	raw, err := m.Call(ctx, addr, id, path, body)
	if err != nil {
		var unsent *mesh.NotSent
		if errors.As(err, &unsent) || errors.Is(err, mesh.ErrOtherNode) || errors.Is(err, mesh.ErrNoCredentials) {
			return out.Value, fmt.Errorf("%w: %w", replica.ErrNotTaken, err)
		}
		return out.Value, replica.Refuse(replica.ErrUnknownOutcome, err)
	}
	// A newer node may say more than this one knows.
	if err := json.Unmarshal(raw, &out); err != nil {
		return out.Value, replica.Refuse(replica.ErrUnknownOutcome, err)
	}
	if f := out.Fault; f != nil {
		return out.Value, f.err()
	}
	return out.Value, nil
}

// respond writes the answer of a call.
func respond[T any](w http.ResponseWriter, v T, err error) {
	out := reply[T]{Value: v}
	if err != nil {
		out.Fault = toWire(err)
	}
	raw, err := json.Marshal(&out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(raw)
}

// calls serves the calls of other nodes.
func (c *Cluster) calls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+callPropose, c.servePropose)
	mux.HandleFunc("POST "+callRead, func(w http.ResponseWriter, r *http.Request) {
		index, err := c.leadership.read(r.Context())
		respond(w, index, err)
	})
	mux.HandleFunc("POST "+callRenew, c.serveRenew)
	mux.HandleFunc("POST "+callReport, c.serveReport)
	mux.HandleFunc("POST "+callStatus, func(w http.ResponseWriter, r *http.Request) {
		s, err := c.status.ofLeader(r.Context())
		respond(w, statusToWire(s), err)
	})
	mux.HandleFunc("POST "+callManage, c.serveManage)
	mux.HandleFunc("POST "+callSettle, c.serveSettle)
	mux.HandleFunc("POST "+callRecall, c.serveRecall)
	mux.HandleFunc("POST "+callYield, c.serveYield)
	return mux
}

// Forward implements [replica.Writer].
func (c *Cluster) Forward(ctx context.Context, p *replica.Proposal) (replica.Receipt, error) {
	id, addr, ok := c.peers.leader()
	if !ok || string(id) == c.self.ID {
		return replica.Receipt{}, replica.ErrNotTaken
	}
	// A leader of an older version reads the traits from here; since then it reads
	// them from the command.
	q := url.Values{}
	for name, set := range map[string]bool{"takes": p.Takes, "waits": p.Waits, "grant": p.Vital} {
		if set {
			q.Set(name, "1")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, replica.ProposeTimeout)
	defer cancel()
	got, err := call[wireReceipt](ctx, c.mesh, addr, string(id), callPropose+"?"+q.Encode(), p.Raw)
	if err != nil {
		return replica.Receipt{}, err
	}
	return got.receipt(), nil
}

func (c *Cluster) servePropose(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, replica.MaxCommand))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), replica.ProposeTimeout)
	defer cancel()
	rc, err := replica.Receipt{}, replica.ErrNotTaken
	if c.r.Leads() {
		rc, err = c.r.CommitForwarded(ctx, raw)
	}
	respond(w, receiptToWire(rc), err)
}

// askSettle asks the leader to wait for a write of an earlier term; see settle.
func (c *Cluster) askSettle(ctx context.Context, index uint64, takes bool) (replica.Revocation, error) {
	id, addr, ok := c.peers.leader()
	if !ok || string(id) == c.self.ID {
		return replica.Revocation{}, replica.ErrNotTaken
	}
	// As in Forward, only a leader of an older version reads takes from here.
	got, err := call[wireRevocation](ctx, c.mesh, addr, string(id), callSettle, encode(&settling{index, takes}))
	return got.revocation(), err
}

// settling is a committed write that its leader can no longer wait for. A receiver
// judges the write itself; an older one believes Takes.
type settling struct {
	Index uint64 `json:"index"`
	Takes bool   `json:"takes,omitzero"`
}

func (c *Cluster) serveSettle(w http.ResponseWriter, r *http.Request) {
	var s settling
	if !c.small(w, r, &s) {
		return
	}
	out, err := replica.Revocation{}, replica.ErrNotTaken
	if c.r.Leads() && c.r.Store().Applied() >= s.Index {
		ctx, cancel := context.WithTimeout(r.Context(), replica.ProposeTimeout)
		defer cancel()
		out.Effective, out.Nodes, err = c.Settle(ctx, s.Index, c.leadership.term.Load(), c.r.TakesAt(s.Index))
	}
	respond(w, revocationToWire(out), err)
}

// remoteRead asks the leader for an index to read at.
func (c *Cluster) remoteRead(ctx context.Context) (uint64, error) {
	id, addr, ok := c.peers.leader()
	if !ok || string(id) == c.self.ID {
		return 0, replica.ErrNotTaken
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	index, err := call[uint64](ctx, c.mesh, addr, string(id), callRead, nil)
	if err != nil {
		return 0, replica.ErrNotTaken // a read that is asked for twice is no harm
	}
	return index, nil
}

// encode writes the body of a small call.
func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a call that cannot be encoded: " + err.Error())
	}
	return raw
}
