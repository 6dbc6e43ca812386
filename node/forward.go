package node

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
)

// The calls between nodes. Each is a POST; what a node of another version does
// not know it answers with 404, so that a call is only ever added.
const (
	callPropose = "/propose"
	callRead    = "/read"
	callRenew   = "/renew"
	callReport  = "/report"
	callStatus  = "/status"
	callManage  = "/manage"
	callSettle  = "/settle"
)

// wireFault is a fault on its way between nodes. Retry says that nothing of the
// request is held: see errNotTaken.
type wireFault struct {
	Code       fault.Code `json:"code"`
	Message    string     `json:"message,omitzero"`
	RetryAfter int64      `json:"retry_after,omitzero"`
	Retry      bool       `json:"retry,omitzero"`
}

// reply is what a call is answered with.
type reply[T any] struct {
	Fault *wireFault `json:"fault,omitzero"`
	Value T          `json:"value,omitzero"`
}

// wireReceipt is a receipt: Repeat is none of the stored result's members.
type wireReceipt struct {
	Result     store.Result       `json:"result"`
	Repeat     bool               `json:"repeat,omitzero"`
	Revocation httpapi.Revocation `json:"revocation"`
}

// call makes a call to the node id at addr. Its errors are errNotTaken where the
// peer certainly holds nothing of it, and faults.
func call[T any](ctx context.Context, m *mesh.Mesh, addr, id, path string, body []byte) (T, error) {
	var out reply[T]
	raw, err := m.Call(ctx, addr, id, path, body)
	if err != nil {
		var unsent *mesh.NotSent
		if errors.As(err, &unsent) || errors.Is(err, mesh.ErrOtherNode) || errors.Is(err, mesh.ErrNoCredentials) {
			return out.Value, errNotTaken
		}
		return out.Value, refuse(fault.UnknownOutcome, err)
	}
	// A newer node may say more than this one knows.
	if err := json.Unmarshal(raw, &out); err != nil {
		return out.Value, refuse(fault.UnknownOutcome, err)
	}
	if f := out.Fault; f != nil {
		if f.Retry {
			return out.Value, errNotTaken
		}
		return out.Value, &fault.Error{Code: f.Code, Message: f.Message, RetryAfter: f.RetryAfter}
	}
	return out.Value, nil
}

// respond writes the answer of a call.
func respond[T any](w http.ResponseWriter, v T, err error) {
	out := reply[T]{Value: v}
	if err != nil {
		f := fault.From(err)
		out.Fault = &wireFault{Code: f.Code, Message: f.Message, RetryAfter: f.RetryAfter, Retry: errors.Is(err, errNotTaken)}
	}
	raw, err := json.Marshal(&out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(raw)
}

// calls serves what other nodes ask of this one.
func (c *cluster) calls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+callPropose, c.servePropose)
	mux.HandleFunc("POST "+callRead, func(w http.ResponseWriter, r *http.Request) {
		index, err := c.read(r.Context())
		respond(w, index, err)
	})
	mux.HandleFunc("POST "+callRenew, c.serveRenew)
	mux.HandleFunc("POST "+callReport, c.serveReport)
	mux.HandleFunc("POST "+callStatus, func(w http.ResponseWriter, _ *http.Request) {
		s, err := c.statusAsLeader()
		respond(w, s, err)
	})
	mux.HandleFunc("POST "+callManage, c.serveManage)
	mux.HandleFunc("POST "+callSettle, c.serveSettle)
	return mux
}

// forward hands a proposal to the leader, once.
func (r *Replica) forward(ctx context.Context, p *proposal) (httpapi.Receipt, error) {
	c := r.cluster
	if c == nil {
		return httpapi.Receipt{}, errNotTaken
	}
	id, addr, ok := c.leader()
	if !ok || string(id) == c.self.ID {
		return httpapi.Receipt{}, errNotTaken
	}
	q := url.Values{}
	for name, set := range map[string]bool{"takes": p.takes, "waits": p.waits, "grant": p.grant} {
		if set {
			q.Set(name, "1")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, httpapi.ProposeTimeout)
	defer cancel()
	got, err := call[wireReceipt](ctx, c.Mesh, addr, string(id), callPropose+"?"+q.Encode(), p.raw)
	if err != nil {
		return httpapi.Receipt{}, err
	}
	got.Result.Repeat = got.Repeat
	return httpapi.Receipt{Result: got.Result, Revocation: got.Revocation}, nil
}

func (c *cluster) servePropose(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommand))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q := r.URL.Query()
	p := &proposal{raw: raw, takes: q.Has("takes"), waits: q.Has("waits"), grant: q.Has("grant")}
	ctx, cancel := context.WithTimeout(r.Context(), httpapi.ProposeTimeout)
	defer cancel()
	rc, err := httpapi.Receipt{}, error(errNotTaken)
	if c.r.leads.isOpen() {
		rc, err = c.r.commit(ctx, p)
	}
	respond(w, wireReceipt{Result: rc.Result, Repeat: rc.Repeat, Revocation: rc.Revocation}, err)
}

// askSettle asks the leader to wait for a write of an earlier term; see settle.
func (c *cluster) askSettle(ctx context.Context, index uint64, takes bool) (httpapi.Revocation, error) {
	id, addr, ok := c.leader()
	if !ok || string(id) == c.self.ID {
		return httpapi.Revocation{}, errNotTaken
	}
	return call[httpapi.Revocation](ctx, c.Mesh, addr, string(id), callSettle, encode(&settling{index, takes}))
}

// settling is a committed write that its leader can no longer wait for.
type settling struct {
	Index uint64 `json:"index"`
	Takes bool   `json:"takes,omitzero"`
}

func (c *cluster) serveSettle(w http.ResponseWriter, r *http.Request) {
	var s settling
	if !c.small(w, r, &s) {
		return
	}
	out, err := httpapi.Revocation{}, error(errNotTaken)
	if c.r.leads.isOpen() && c.r.Store().Applied() >= s.Index {
		ctx, cancel := context.WithTimeout(r.Context(), httpapi.ProposeTimeout)
		defer cancel()
		out.Effective, out.Nodes, err = c.settle(ctx, c.term.Load(), s.Index, s.Takes)
	}
	respond(w, out, err)
}

// remoteRead asks the leader for an index to read at.
func (c *cluster) remoteRead(ctx context.Context) (uint64, error) {
	id, addr, ok := c.leader()
	if !ok || string(id) == c.self.ID {
		return 0, errNotTaken
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	index, err := call[uint64](ctx, c.Mesh, addr, string(id), callRead, nil)
	if err != nil {
		return 0, errNotTaken // a read that is asked for twice is no harm
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
