package cluster

import (
	"context"
	"errors"
	"fmt"
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
	callShare   = "/share" // the body is no JSON: see package node/share
	callAudit   = "/audit"
	callObserve = "/observe"
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

// readIndex asks the leader for an index to read at.
func (p *peers) readIndex(ctx context.Context) (uint64, error) {
	id, addr, ok := p.leader()
	if !ok || string(id) == p.self.ID {
		return 0, replica.ErrNotTaken
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	index, err := call[uint64](ctx, p.mesh, addr, string(id), callRead, nil)
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
