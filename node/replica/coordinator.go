package replica

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/store"
)

// Coordinator stands between a replica and the other nodes: a lone node has a
// trivial one, a node of a cluster that of package cluster. Raft keeps the state
// equal everywhere; the coordinator decides which nodes serve, how a write reaches the
// leader, and when it is in force everywhere.
//
// Its methods may be called from any goroutine unless they say otherwise.
type Coordinator interface {
	Lifecycle
	Writer
	Operator
}

// Lifecycle is the part of a [Coordinator] that follows the replica's life. The
// replica calls Enter, Start, Farewell and Close once each, in this order.
type Lifecycle interface {
	// Enter finds this node's place, which may take until other nodes are there or
	// ctx ends. The stores are open and Raft does not run yet.
	Enter(ctx context.Context) (Entry, error)
	// Start begins the coordinator's work. Raft runs. Goroutines that use Raft are
	// counted in tasks and end with ctx.
	Start(ctx context.Context, tasks *sync.WaitGroup) error
	// Began is called when this node leads in term and has applied everything from
	// before it, Ended when it leads no more: by one goroutine, before [Replica.Leads]
	// reports it or after it has stopped to.
	Began(term uint64)
	Ended()
	// Farewell is called when the node stops in an orderly way, after the last
	// request and before Raft stops.
	Farewell()
	// Close is called after the tasks have ended.
	Close() error
}

// Entry is a node's place among others.
type Entry struct {
	Transport raft.Transport
	// Begin makes a node without any state the only voter of a new cluster; other
	// nodes wait for a leader to send them theirs.
	Begin    bool
	Timeouts Timeouts
}

// Timeouts are Raft's. A follower that has not heard from its leader for one to two
// of Election stands for election; a leader that has not heard from a majority for
// Leader gives up.
type Timeouts struct{ Election, Leader time.Duration }

// Writer is the part of a [Coordinator] that each write goes through.
type Writer interface {
	// Fault is the reason why this node may change nothing now, nil if it may.
	Fault() error
	// Complete reports whether all nodes that are to form the cluster belong to it.
	Complete() bool
	// Full reports whether so many voters have no space that a change would have to
	// wait for it. It is asked of the leader.
	Full() bool
	// Strained reports whether a node that serves is late with its lease, so that more large
	// changes might cost it the lease: they wait. It is asked of the leader.
	Strained() bool
	// Forward hands a proposal to the leader, once.
	Forward(ctx context.Context, p *Proposal) (Receipt, error)
	// Committed is called when an entry is committed and applied here.
	Committed(index, term uint64)
	// Settle waits until the entry at index is in force on every node that serves,
	// and tells how each of them came to it.
	Settle(ctx context.Context, index, term uint64, takes bool) (effective bool, nodes []Ack, err error)
	// Answered counts a write that takes a right away.
	Answered(took time.Duration, nodes []Ack)
	// Linearize returns once this node's state includes every write that was
	// answered before the call.
	Linearize(ctx context.Context) error
	// Recall has every node give back the units that it holds of the buckets that asks name
	// and does not need, and returns once this node's state includes that.
	Recall(ctx context.Context, asks []store.GrantAsk) error
}

// Operator is the part of a [Coordinator] that the node and its operator use.
type Operator interface {
	// Serving reports whether this node may admit requests, Alone whether it does so
	// without contact to the others. Both are called for each request: they take no
	// lock and make no system call.
	Serving() bool
	Alone() bool
	// Ready is nil if the node should get traffic. Anybody may read the reason.
	Ready() error
	// WaitState returns once this node has a state that it can answer from.
	// initialize is called where this node has to make it.
	WaitState(ctx context.Context, initialize func(context.Context) error) error
	// Status describes the cluster: by the leader's report where it can be had, else
	// by this node's own view.
	Status(ctx context.Context) Status
	// TransferLeadership hands the leadership to the voter of that name, or with ""
	// to any other. RemoveNode ends a node's membership and returns when it serves no
	// more. Both refuse with ErrWouldLoseQuorum where no majority of the voters would
	// be in contact afterwards, unless force is set.
	TransferLeadership(ctx context.Context, to string, force bool, who store.Actor) error
	RemoveNode(ctx context.Context, name string, force bool, who store.Actor) (Revocation, error)
	// AskAudit asks the node id about its part of the audit log.
	AskAudit(ctx context.Context, id string, body []byte) ([]byte, error)
	// AskObserve asks the node id about the requests that it served.
	AskObserve(ctx context.Context, id string, body []byte) ([]byte, error)
	// HandOver gives leadership to another node, if this one has it and there is
	// one: a node that stops soon should not lead.
	HandOver()
	// SetSecret changes the secret that joining nodes must have.
	SetSecret(secret []byte) error
	// Collectors are the metrics.
	Collectors() []prometheus.Collector
}
