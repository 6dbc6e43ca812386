package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/store"
)

// LoneTimeouts are those of a lone voter. Nobody else can be elected, so it need
// not wait for anyone; 50 ms only bound how long a start takes.
var LoneTimeouts = Timeouts{50 * time.Millisecond, 50 * time.Millisecond}

// LoneAddress stands for the address of a node without a cluster listener.
const LoneAddress = raft.ServerAddress("alone")

// lone is the coordinator of a node without a cluster listener. Such a node has
// applied a command when it answers it, and there is no other that could still
// hold the old state.
type lone struct{ r *Replica }

var _ Coordinator = lone{}

// Enter implements [Lifecycle].
func (lone) Enter(context.Context) (Entry, error) {
	_, trans := raft.NewInmemTransport(LoneAddress)
	return Entry{Transport: trans, Begin: true, Timeouts: LoneTimeouts}, nil
}

// Start implements [Lifecycle].
func (lone) Start(context.Context, *sync.WaitGroup) error { return nil }

// Began implements [Lifecycle].
func (lone) Began(uint64) {}

// Ended implements [Lifecycle].
func (lone) Ended() {}

// Farewell implements [Lifecycle].
func (lone) Farewell() {}

// Close implements [Lifecycle].
func (lone) Close() error { return nil }

// Fault implements [Writer].
func (lone) Fault() error { return nil }

// Complete implements [Writer].
func (lone) Complete() bool { return true }

// Full implements [Writer]: no other disk counts.
func (lone) Full() bool { return false }

// Strained implements [Writer]: no lease can end.
func (lone) Strained() bool { return false }

// Forward implements [Writer]: there is no other node.
func (lone) Forward(context.Context, *Proposal) (Receipt, error) { return Receipt{}, ErrNotTaken }

// Committed implements [Writer].
func (lone) Committed(_, _ uint64) {}

// Settle implements [Writer]: the entry is applied.
func (l lone) Settle(context.Context, uint64, uint64, bool) (bool, []Ack, error) {
	return true, []Ack{l.r.committer.ack()}, nil
}

// Answered implements [Writer].
func (lone) Answered(time.Duration, []Ack) {}

// Linearize implements [Writer]. Once the node leads, and with that has applied
// everything from before its start, there is nothing to wait for.
func (l lone) Linearize(ctx context.Context) error {
	if err := l.r.leadership.leads.wait(ctx, LeaderWait); err != nil {
		return Refuse(ErrNoLeader, err)
	}
	return nil
}

// Recall implements [Writer]: no other node holds anything.
func (lone) Recall(context.Context, []store.GrantAsk) error { return nil }

// Serving implements [Operator].
func (lone) Serving() bool { return true }

// Alone implements [Operator]: the node has no contact to lose.
func (lone) Alone() bool { return false }

// Ready implements [Operator].
func (l lone) Ready() error {
	if !l.r.Leads() {
		return errors.New("the log is not applied yet, or there is no leader")
	}
	return nil
}

// WaitState implements [Operator].
func (l lone) WaitState(ctx context.Context, initialize func(context.Context) error) error {
	if err := l.r.WaitReady(ctx); err != nil {
		return err
	}
	if !l.r.Store().Initialized() {
		if err := l.r.NeverWritten(); err != nil {
			return err
		}
	}
	return initialize(ctx)
}

// Status implements [Operator].
func (l lone) Status(context.Context) Status {
	r := l.r
	me := NodeStatus{
		Name: r.cfg.Name, Role: "voter", State: StateReady, AppliedIndex: r.Store().Applied(),
		Version: r.cfg.Version, Region: r.cfg.Region,
	}
	out := Status{ClusterID: r.Store().ClusterID(), Term: r.Raft().CurrentTerm(), Reasons: []string{}}
	if r.Raft().State() == raft.Leader {
		me.Role, out.Leader = "leader", r.cfg.Name
	}
	if err := r.Ready(); err != nil {
		me.State = StateStarting
		out.Reasons = append(out.Reasons, fmt.Sprintf("%s: %v", r.cfg.Name, err))
	}
	if full := r.Disk().Reason(); full != "" {
		out.Reasons = append(out.Reasons, r.cfg.Name+": "+full)
	}
	out.Healthy = len(out.Reasons) == 0
	out.Nodes = []NodeStatus{me}
	return out
}

// errLone is the answer to changes of a cluster.
var errLone = Decline(ErrConflict, "This node is alone: it has no cluster listener (cluster.listen).")

// TransferLeadership implements [Operator].
func (lone) TransferLeadership(context.Context, string, bool, store.Actor) error { return errLone }

// RemoveNode implements [Operator].
func (lone) RemoveNode(context.Context, string, bool, store.Actor) (Revocation, error) {
	return Revocation{}, errLone
}

// HandOver implements [Operator].
func (lone) HandOver() {}

// SetSecret implements [Operator]: no node can join.
func (lone) SetSecret([]byte) error { return nil }

// Collectors implements [Operator].
func (lone) Collectors() []prometheus.Collector { return nil }

// AskAudit implements [Operator]: there is no other node.
func (lone) AskAudit(context.Context, string, []byte) ([]byte, error) {
	return nil, Refuse(ErrNotFound, errors.New("there is no other node"))
}

// AskObserve implements [Operator]: there is no other node.
func (lone) AskObserve(context.Context, string, []byte) ([]byte, error) {
	return nil, Refuse(ErrNotFound, errors.New("there is no other node"))
}
