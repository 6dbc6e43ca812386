package replica_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// A lone node serves without the consent of others, and refuses calls that only a
// cluster can serve with a sentence that names the setting.
func TestCoordinatorOfALoneNode(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	c := r.Coordinator()
	if !c.Serving() || c.Alone() || c.Full() || c.Ready() != nil || len(c.Collectors()) > 0 {
		t.Error("a lone node waits for others")
	}
	if err := c.SetSecret([]byte("x")); err != nil {
		t.Error(err)
	}
	who := store.Actor{Type: store.ActorOperator, ID: "op"}
	for what, err := range map[string]error{
		"transfer": c.TransferLeadership(t.Context(), "", false, who),
		"remove": func() error {
			_, err := c.RemoveNode(t.Context(), "n1", false, who)
			return err
		}(),
	} {
		var e *replica.Error
		if !errors.As(err, &e) || e.Reason != replica.ErrConflict || e.RetryAfter != 0 || e.Message != "This node is alone: it has no cluster listener (cluster.listen)." {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.Forward(t.Context(), &replica.Proposal{}); err != replica.ErrNotTaken {
		t.Errorf("a proposal was forwarded: %v", err)
	}
	effective, nodes, err := c.Settle(t.Context(), 1, 1, true)
	if !effective || err != nil || len(nodes) != 1 || nodes[0] != (replica.Ack{"n1", "applied"}) {
		t.Errorf("a write settles with %v %v %v", effective, nodes, err)
	}
	s := c.Status(t.Context())
	if !s.Healthy || s.Leader != "n1" || s.Nodes[0].Role != "leader" || s.Nodes[0].State != replica.StateReady || s.Nodes[0].LeaseMS != nil {
		t.Errorf("status: %+v", s)
	}
	r.SetLeads(false)
	if s := c.Status(t.Context()); s.Healthy || s.Nodes[0].State != replica.StateStarting || c.Ready() == nil || !c.Serving() {
		t.Errorf("before the log is applied: %+v, %v", s, c.Ready())
	}
	r.SetLeads(true)
}

// The state is made when the node leads, and not otherwise.
func TestStateOfALoneNode(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	want := errors.New("made")
	if err := r.Coordinator().WaitState(t.Context(), func(context.Context) error { return want }); err != want {
		t.Errorf("the state was not made: %v", err)
	}
	r.SetLeads(false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := r.Coordinator().WaitState(ctx, func(context.Context) error {
		t.Error("made without leading")
		return nil
	})
	if err == nil {
		t.Error("it did not wait for leadership")
	}
	r.SetLeads(true)
}
