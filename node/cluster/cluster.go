package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
)

// Cluster is the coordinator of a node that is one of several. It puts the parts
// together and implements [replica.Coordinator] by them; each part
// documents its own state. The parts do not change after New.
type Cluster struct {
	*node
	clocks      *clocks
	peers       *peers
	leadership  *leadership
	settlements *settlements
	reader      *noticeReader
	holder      *holder
	certs       *certificates
	founding    *founding
	membership  *membership
	reconciler  *reconciler
	diagnosis   *diagnosis
	recalls     *recalls
	overseer    *overseer
	status      *status
	server      *server
	metrics     *metrics

	answerAsMember func() // begins to answer join requests as a member; set by Enter
}

// New returns the coordinator of r. It does nothing before Enter.
func New(r *replica.Replica, s *Config) *Cluster {
	id := r.Identity()
	n := &node{Config: s, r: r, log: s.Logger, self: lease.Node{ID: id.ID, Boot: id.Boot}, troubles: newTroubles(s.Logger)}
	c := &Cluster{node: n, metrics: newMetrics()}
	c.clocks = &clocks{node: n}
	c.peers = &peers{node: n}
	config := lease.Default
	config.Duration = s.Lease
	c.leadership = &leadership{node: n, clocks: c.clocks, peers: c.peers, metrics: c.metrics, table: lease.NewTable(config), renew: func() { c.holder.poke() }}
	c.leadership.reports.nodes = map[string]*selfReport{}
	c.reader = &noticeReader{node: n, peers: c.peers}
	c.founding = &founding{node: n}
	c.holder = &holder{node: n, clocks: c.clocks, founding: c.founding, peers: c.peers, leadership: c.leadership, reader: c.reader, kick: make(chan struct{}, 1)}
	c.certs = &certificates{node: n, clocks: c.clocks, holder: c.holder}
	c.membership = &membership{node: n, clocks: c.clocks, peers: c.peers, leadership: c.leadership, certs: c.certs, founding: c.founding}
	c.reconciler = &reconciler{
		node: n, clocks: c.clocks, peers: c.peers, leadership: c.leadership, holder: c.holder, certs: c.certs, membership: c.membership, founding: c.founding,
		dropped: map[string]bool{}, gone: map[string]bool{}, orphans: map[string]int64{},
	}
	c.diagnosis = &diagnosis{node: n, peers: c.peers, holder: c.holder, certs: c.certs}
	c.recalls = &recalls{node: n, peers: c.peers, metrics: c.metrics, kick: make(chan struct{}, 1)}
	c.overseer = &overseer{node: n, peers: c.peers, leadership: c.leadership}
	c.status = &status{node: n, clocks: c.clocks, peers: c.peers, leadership: c.leadership, holder: c.holder, diagnosis: c.diagnosis, founding: c.founding}
	c.settlements = &settlements{node: n, peers: c.peers, leadership: c.leadership}
	c.server = &server{node: n, leadership: c.leadership, settlements: c.settlements, membership: c.membership, recalls: c.recalls, status: c.status}
	return c
}

var _ replica.Coordinator = (*Cluster)(nil)

// Start implements [replica.Lifecycle].
func (c *Cluster) Start(ctx context.Context, tasks *sync.WaitGroup) error {
	c.leadership.notices = newNotices(ctx, c.node, c.peers, c.leadership)
	c.peers.ctx = ctx
	c.leadership.notices.Follow()
	c.mesh.Handle(c.server.handler())
	c.answerAsMember()
	tasks.Go(func() { c.holder.meetLeaders(ctx) })
	c.peers.tasks.Go(func() { c.reader.takeNotices(ctx) })
	tasks.Go(func() { c.holder.renewals(ctx) })
	tasks.Go(func() { c.holder.sendReports(ctx) })
	tasks.Go(func() { c.reconciler.run(ctx) })
	tasks.Go(func() { c.diagnosis.run(ctx) })
	tasks.Go(func() { c.recalls.run(ctx) })
	tasks.Go(func() { c.overseer.run(ctx) })
	tasks.Go(func() { <-ctx.Done(); c.leadership.notices.tasks.Wait() })
	return nil
}

// Began implements [replica.Lifecycle].
func (c *Cluster) Began(term uint64) { c.leadership.begin(term) }

// Ended implements [replica.Lifecycle].
func (c *Cluster) Ended() { c.leadership.end() }

// Serving implements [replica.Operator].
func (c *Cluster) Serving() bool { return c.holder.serving() }

// Alone implements [replica.Operator].
func (c *Cluster) Alone() bool { return c.holder.alone() }

// Ready implements [replica.Operator].
func (c *Cluster) Ready() error { return c.holder.ready() }

// Fault implements [replica.Writer].
func (c *Cluster) Fault() error { return c.clocks.fault() }

// Complete implements [replica.Writer].
func (c *Cluster) Complete() bool { return len(c.r.Store().Members()) >= c.Expect }

// Full implements [replica.Writer].
func (c *Cluster) Full() bool { return c.leadership.full() }

// Strained implements [replica.Writer].
func (c *Cluster) Strained() bool { return c.leadership.strained() }

// Committed implements [replica.Writer].
func (c *Cluster) Committed(index, term uint64) { c.leadership.notices.Committed(index, term) }

// Answered implements [replica.Writer].
func (c *Cluster) Answered(took time.Duration, nodes []replica.Ack) {
	c.leadership.metrics.revoked(took, nodes)
}

// WaitState implements [replica.Operator]. A node that has a state does not wait for a
// leader: until it holds a lease, it says so by itself. Where it cannot be known whether the
// state was made, the node looks again.
func (c *Cluster) WaitState(ctx context.Context, initialize func(context.Context) error) error {
	for !c.r.Store().Initialized() {
		next := c.r.Changed()
		if c.r.Leads() {
			if c.r.Store().Initialized() {
				break // by the entry that was applied before this node led
			}
			err := c.r.NeverWritten()
			if err == nil {
				err = initialize(ctx)
			}
			if err == nil || c.r.Store().Initialized() { // an attempt with an unknown outcome has made it
				continue
			}
			if !replica.Passing(err) || c.r.Failed() != nil {
				return err
			}
			c.leadership.troubles.say("found", "the state of the new cluster is not made yet", "error", err)
		}
		timer := time.NewTimer(statePoll)
		select {
		case <-next:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for the cluster's state: %w", ctx.Err())
		}
		timer.Stop()
	}
	c.leadership.troubles.over("found")
	return nil
}

// statePoll is how often a node without a state looks whether it leads.
const statePoll = 20 * time.Millisecond

// Settle implements [replica.Writer].
func (c *Cluster) Settle(ctx context.Context, index, term uint64, takes bool) (effective bool, nodes []replica.Ack, err error) {
	return c.settlements.settle(ctx, index, term, takes)
}

// Linearize implements [replica.Writer].
func (c *Cluster) Linearize(ctx context.Context) error {
	return c.r.WithLeader(ctx, func() error {
		if c.r.Leads() {
			if _, err := c.r.Confirm(ctx); err != nil {
				return replica.ErrNotTaken
			}
			return nil
		}
		index, err := c.peers.readIndex(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, replica.LeaderWait)
		defer cancel()
		if err := c.r.WaitApplied(ctx, index); err != nil {
			return replica.Refuse(replica.ErrUnavailable, fmt.Errorf("this node has not caught up with the leader: %w", err))
		}
		return nil
	})
}
