package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/mesh"
)

// cluster is what a replica does besides Raft as one of several: it lends and
// holds serving leases, hands writes to the leader, and looks after the members.
// Its parts run on every node; what only a leader does rests on the others.
type cluster struct {
	*Clustering
	Mesh    *mesh.Mesh
	r       *Replica
	self    lease.Node
	log     *slog.Logger
	table   *lease.Table // of this node as leader
	lease   lease.Lease  // of this node
	confirm *confirmer
	notices *notices
	metrics *clusterMetrics
	members atomic.Pointer[mesh.Members]    // nil until the state has keys for the gossip
	told    told                            // the leader's: what nodes said of themselves
	living  atomic.Pointer[map[string]meta] // whom gossip takes for alive
	watch   watch

	once        atomic.Bool // a lease has been granted to this process
	stale       atomic.Bool // and one after the leader was told that this node serves on
	kick        chan struct{}
	clashes     *said
	creds       atomic.Pointer[mesh.Credentials]
	joins       sync.Mutex       // one node is let in at a time
	gone        map[string]bool  // nodes that are told to be gone; care's own
	term        atomic.Uint64    // the newest that this node led in
	reported    atomic.Uint64    // the index that the leader was told of by an answer to a notice
	tasksOfMesh sync.WaitGroup   // end when the mesh is closed
	greeted     atomic.Uint64    // the newest term in which greet is done
	ledSince    atomic.Int64     // when this node's term as leader began, by its clock
	orphans     map[string]int64 // members that are no servers, and since when; care's own
	dropped     map[string]bool  // removed nodes whose connections were closed; care's own
	answers     func()           // begins to answer join requests as a member
	ctx         context.Context  // ends when the replica stops
	tasks       *sync.WaitGroup
}

// leaseEvery is how often a lease of D is renewed.
func leaseEvery(d time.Duration) time.Duration { return d / 10 }

func newCluster(r *Replica, s *Clustering, m *mesh.Mesh) *cluster {
	c := &cluster{
		Clustering: s, Mesh: m, r: r, log: r.cfg.Logger, self: lease.Node{ID: r.id.ID, Boot: r.id.Boot},
		kick: make(chan struct{}, 1), metrics: newClusterMetrics(), clashes: newSaid(r.cfg.Logger),
		dropped: map[string]bool{}, gone: map[string]bool{}, orphans: map[string]int64{},
	}
	c.told.nodes = map[string]*facts{}
	config := lease.Default
	config.Duration = s.Lease
	c.table = lease.NewTable(config)
	return c
}

// start begins the cluster's work, once Raft runs.
func (c *cluster) start(ctx context.Context, tasks *sync.WaitGroup) error {
	c.confirm = newConfirmer(c.r.engine.barrier)
	c.notices = newNotices(ctx, c)
	c.ctx, c.tasks = ctx, tasks
	c.notices.Follow()
	c.Mesh.Handle(c.calls())
	c.answers()
	tasks.Go(func() { c.confirm.Run(ctx) })
	tasks.Go(func() { c.meetLeaders(ctx) })
	c.tasksOfMesh.Go(func() { c.takeNotices(ctx) })
	tasks.Go(func() { c.renewals(ctx) })
	tasks.Go(func() { c.reports(ctx) })
	tasks.Go(func() { c.care(ctx) })
	tasks.Go(func() { c.lookAround(ctx) })
	tasks.Go(func() { <-ctx.Done(); c.notices.tasks.Wait() })
	return nil
}

// Serving reports whether this node may admit requests. It is asked twice for
// each of them, takes no lock and makes no system call.
func (c *cluster) Serving() bool {
	wall, now := c.Clock.Read()
	if c.lease.Valid(now, wall.UnixNano()-now) {
		return true
	}
	return c.stale.Load()
}

// Alone reports whether this node serves on without a lease.
func (c *cluster) Alone() bool {
	if !c.stale.Load() {
		return false
	}
	wall, now := c.Clock.Read()
	return !c.lease.Valid(now, wall.UnixNano()-now)
}

// began is called when this node leads in term and has applied everything from
// before it.
func (c *cluster) began(term uint64) {
	stale := map[string]bool{}
	for _, m := range c.r.Store().Members() {
		if m.Stale && m.ID != c.self.ID {
			stale[m.ID] = true
			c.table.Suspect(m.ID)
		}
	}
	for _, h := range c.table.Status(c.Clock.Now()) { // of earlier terms of this node's
		if !stale[h.ID] {
			c.table.Forget(h.ID)
		}
	}
	c.term.Store(term)
	c.told.reset()
	c.ledSince.Store(c.Clock.Now())
	c.Clock.Sync()
	c.table.Begin(term, c.Clock.Now(), c.r.Store().Applied())
	c.poke()
}

// ended is called when this node has lost its office.
func (c *cluster) ended() {
	c.table.End()
	c.poke()
}

// poke makes the next renewal due at once.
func (c *cluster) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// settle waits until the write at index is true on every node that serves, and
// tells how each of them came to it.
func (c *cluster) settle(ctx context.Context, term, index uint64, takes bool) (effective bool, nodes []httpapi.RevocationAck, err error) {
	c.greet(ctx, term)
	w := c.table.Write(term, index, takes, c.Clock.Now())
	defer w.Cancel()
	// The state here includes the write, and a report need not travel for that.
	c.table.Report(c.self, c.r.Store().Applied(), c.Clock.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := c.Clock.Now()
		state, next := w.Poll(now)
		switch state {
		case lease.Lost:
			return c.settleElsewhere(ctx, index, takes)
		case lease.Done:
			return w.Effective(), c.acks(w.Nodes()), nil
		}
		timer.Reset(time.Duration(max(next-now, 1)))
		select {
		case <-w.Changed():
		case <-timer.C:
		case <-ctx.Done():
			return false, nil, refuse(fault.UnknownOutcome, fmt.Errorf("the change is made, but not yet known to be in force everywhere: %w", ctx.Err()))
		case <-c.r.stopped:
			return false, nil, refuse(fault.UnknownOutcome, raft.ErrRaftShutdown)
		}
	}
}

// settleElsewhere has the next leader wait for a write that this one committed: it
// is in the log for good, only not known to be in force everywhere.
func (c *cluster) settleElsewhere(ctx context.Context, index uint64, takes bool) (effective bool, nodes []httpapi.RevocationAck, err error) {
	err = c.r.withLeader(ctx, func() error {
		if c.r.leads.isOpen() {
			effective, nodes, err = c.settle(ctx, c.term.Load(), index, takes)
			return err
		}
		got, err := c.askSettle(ctx, index, takes)
		effective, nodes = got.Effective, got.Nodes
		return err
	})
	if err != nil {
		// It is committed: nothing in this error may read as errNotTaken to those who
		// offer proposals again.
		return false, nil, refuse(fault.UnknownOutcome, fmt.Errorf("committed, and not known to be in force everywhere: %v", err))
	}
	return effective, nodes, nil
}

// greetWait is how long a new leader's first writes wait to hear of the nodes that
// it might reach. A follower asks for a lease as soon as it knows its new leader.
const greetWait = 300 * time.Millisecond

// greet waits, in a leader's first moments, until every server was heard of or
// cannot be reached. A node may serve on a lease of the last leader, of which this
// one knows nothing: a write that gives a right must be visible there too when it
// answers, if that node is in contact. (One that takes a right waits until such
// leases have ended in any case.)
func (c *cluster) greet(ctx context.Context, term uint64) {
	if c.greeted.Load() >= term {
		return
	}
	poll := time.NewTicker(greetPoll)
	defer poll.Stop()
	for c.Clock.Now()-c.ledSince.Load() < int64(greetWait) {
		missing := false
		for _, s := range c.otherServers() {
			if _, heard := c.told.of(string(s.ID)); !heard && !c.notices.Unreached(s.ID, term) {
				missing = true
			}
		}
		if !missing {
			break
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
	c.greeted.Store(term)
}

// greetPoll is how often greet looks.
const greetPoll = 5 * time.Millisecond

// meetLeaders makes this node ask each new leader for a lease at once, until ctx
// ends.
func (c *cluster) meetLeaders(ctx context.Context) {
	news := make(chan raft.Observation, 8) // of which the newest is enough
	o := raft.NewObserver(news, false, func(o *raft.Observation) bool {
		l, ok := o.Data.(raft.LeaderObservation)
		return ok && l.LeaderID != ""
	})
	c.r.engine.raft.RegisterObserver(o)
	defer c.r.engine.raft.DeregisterObserver(o)
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
			c.poke()
		}
	}
}

// acks names the nodes of a wait.
func (c *cluster) acks(list []lease.Ack) []httpapi.RevocationAck {
	out := make([]httpapi.RevocationAck, 0, len(list))
	for _, a := range list {
		out = append(out, httpapi.RevocationAck{Name: c.nameOf(a.ID), How: a.How})
	}
	slices.SortFunc(out, func(a, b httpapi.RevocationAck) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// nameOf is a node's name, its id where none is known.
func (c *cluster) nameOf(id string) string {
	if id == c.self.ID {
		return c.r.cfg.Name
	}
	if m, ok := c.r.Store().Member(id); ok {
		return m.Name
	}
	return id
}

// linearize returns once this node's state includes every write that was
// answered before the call.
func (c *cluster) linearize(ctx context.Context) error {
	return c.r.withLeader(ctx, func() error {
		if c.r.leads.isOpen() {
			if _, err := c.confirm.Confirm(ctx); err != nil {
				return errNotTaken
			}
			return nil
		}
		index, err := c.remoteRead(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, leaderWait)
		defer cancel()
		if err := c.r.applied.wait(ctx, index); err != nil {
			return refuse(fault.Unavailable, fmt.Errorf("this node has not caught up with the leader: %w", err))
		}
		return nil
	})
}

// read is the leader's part of linearize: an index that includes every write
// that was answered before the call.
func (c *cluster) read(ctx context.Context) (uint64, error) {
	if !c.r.leads.isOpen() {
		return 0, errNotTaken
	}
	if _, err := c.confirm.Confirm(ctx); err != nil {
		return 0, errNotTaken
	}
	return c.r.Store().Applied(), nil
}

// leader is the leader that this node knows of.
func (c *cluster) leader() (id raft.ServerID, addr string, ok bool) {
	at, id := c.r.engine.raft.LeaderWithID()
	if id == "" {
		return "", "", false
	}
	return id, c.addressOf(string(id), string(at)), true
}

// otherServers are the other servers of Raft's configuration.
func (c *cluster) otherServers() []raft.Server {
	var out []raft.Server
	for _, s := range c.servers() {
		if string(s.ID) != c.self.ID {
			out = append(out, s)
		}
	}
	return out
}

// servers is Raft's latest configuration.
func (c *cluster) servers() []raft.Server {
	rf := c.r.engine.running.Load()
	if rf == nil {
		return nil
	}
	f := rf.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}
