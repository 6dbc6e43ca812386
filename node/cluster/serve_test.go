package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// posts makes a call of the puppet to n1.
func posts[T any](p *puppet, path string, body any) (T, error) {
	p.s.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		raw = encode(body)
	}
	return call[T](p.s.t.Context(), p.mesh, p.s.mesh.Advertise(), p.s.self.ID, path, raw)
}

// The leader answers every call of a node, and takes the node for the one that its
// certificate names.
func TestServedCalls(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	term, applied := s.leadership.term.Load(), s.r.Store().Applied()

	f := p.report()
	got, err := posts[renewed](p, callRenew, &f)
	if err != nil || time.Since(got.Wall).Abs() > time.Minute || got.Stale || got.ClockLow.IsZero() || got.ClockHigh.IsZero() {
		t.Errorf("a renewal: %+v, %v", got, err)
	}
	if _, err := posts[bool](p, callReport, &report{Boot: 1, Term: term, Applied: applied + 5}); err != nil {
		t.Errorf("a report: %v", err)
	}
	holds := func() lease.Holding {
		for _, h := range s.leadership.table.Status(s.Clock.Now()) {
			if h.ID == p.id {
				return h
			}
		}
		return lease.Holding{}
	}
	if h := holds(); h.Until == 0 || h.Rep != applied+5 {
		t.Errorf("after renewal and report: %+v", h)
	}
	if _, err := posts[bool](p, callReport, &report{Boot: 1, Term: term + 1}); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("a report of another term: %v", err)
	}
	if index, err := posts[uint64](p, callRead, []byte{}); err != nil || index < applied {
		t.Errorf("a read: %d, %v", index, err)
	}
	rc, err := posts[wireReceipt](p, callPropose, replicatest.CreateKey(1).Encode())
	if err != nil || !rc.Revocation.Effective || !replicatest.Holds(t, s.r, 1) {
		t.Errorf("a proposal: %+v, %v", rc, err)
	}
	out, err := posts[wireRevocation](p, callSettle, &settling{Index: rc.Result.Index})
	if err != nil || !out.Effective || len(out.Nodes) == 0 {
		t.Errorf("a settled write: %+v, %v", out, err)
	}
	if _, err := posts[wireRevocation](p, callSettle, &settling{Index: s.r.Store().Applied() + 100}); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("a write that is not applied here: %v", err)
	}
	st, err := posts[wireStatus](p, callStatus, []byte{})
	if err != nil || st.Leader != "n1" || len(st.Nodes) != 2 || st.ClusterID != "c1" {
		t.Errorf("the status: %+v, %v", st, err)
	}
	_, err = posts[wireRevocation](p, callManage, &handover{Remove: "n9"})
	declined(t, "a removal", err, replica.ErrNotFound, `There is no node "n9" in this cluster.`)
}

// Calls in another's name, in no form or beyond their bounds are refused by their
// status, before anything is done.
func TestCallsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	last := s.r.LastIndex()
	other := p.report()
	other.ID = s.self.ID
	long := []byte(`{"boot":1` + strings.Repeat(" ", maxCallBody) + `}`)
	for _, c := range []struct {
		name string
		path string
		body []byte
		code int
	}{
		{"a renewal for another", callRenew, encode(&other), http.StatusForbidden},
		{"a renewal without a form", callRenew, []byte("x"), http.StatusBadRequest},
		{"a report beyond the bound", callReport, long, http.StatusBadRequest},
		{"a removal without a form", callManage, []byte("[]"), http.StatusBadRequest},
		{"a settling without a form", callSettle, []byte("7"), http.StatusBadRequest},
		{"a recall without a form", callRecall, []byte("{"), http.StatusBadRequest},
		{"a yield without a form", callYield, nil, http.StatusBadRequest},
		{"a proposal beyond the bound", callPropose, make([]byte, replica.MaxCommand+1), http.StatusBadRequest},
		{"a call of a newer version", "/new", nil, http.StatusNotFound},
	} {
		var err error
		s.until("an answer to "+c.name, func() bool {
			_, err = p.mesh.Call(t.Context(), s.mesh.Advertise(), s.self.ID, c.path, c.body)
			return !errors.Is(err, mesh.ErrUnreachable)
		})
		var status *mesh.StatusError
		if !errors.As(err, &status) || status.Status != c.code {
			t.Errorf("%s: %v, must be %d", c.name, err, c.code)
		}
	}
	if s.r.LastIndex() != last {
		t.Error("something was written")
	}
}

// A follower takes none of the leader's calls, so that the caller looks for the leader.
func TestCallsToAFollower(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	term := s.leadership.term.Load()
	p.leads()
	f := p.report()
	f.Term = term
	for path, body := range map[string]any{
		callPropose: replicatest.CreateKey(1).Encode(), callRead: []byte{}, callRenew: &f,
		callStatus: []byte{}, callManage: &handover{Transfer: true}, callSettle: &settling{Index: 1}, callRecall: &recalling{},
	} {
		if _, err := posts[struct{}](p, path, body); !errors.Is(err, replica.ErrNotTaken) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A node that was removed gets no lease, nor one whose lease would outlast the others'
// waits; they are told the reason.
func TestLeasesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.joined("n2")
	f := p.report()
	f.Lease = int64(time.Second)
	_, err := s.leadership.grant(t.Context(), &f)
	declined(t, "another duration", err, replica.ErrForbidden, "cluster.lease is 1s here and 300ms on the leader; give all nodes the same.")
	if _, err := s.RemoveNode(t.Context(), "n2", true, byOperator); err != nil {
		t.Fatal(err)
	}
	f = p.report()
	_, err = s.leadership.grant(t.Context(), &f)
	declined(t, "removed", err, replica.ErrForbidden, "The node was removed from the cluster.")
	if _, heard := s.leadership.reports.of(p.id); heard {
		t.Error("its report is kept")
	}
	// A renewal that cannot be confirmed leaves nothing that writes would wait for.
	q := s.joined("n3")
	f = q.report()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.leadership.grant(ended, &f); !errors.Is(err, replica.ErrUnavailable) {
		t.Errorf("not confirmed: %v", err)
	}
	for _, h := range s.leadership.table.Status(s.Clock.Now()) {
		if h.ID == q.id && (h.Pending || h.Until != 0) {
			t.Errorf("the refused renewal is kept: %+v", h)
		}
	}
}

var recalled = store.GrantAsk{Account: store.DefaultAccount, Type: store.Live, Key: replicatest.KeyID(1), Budget: true, Month: 24_000}
