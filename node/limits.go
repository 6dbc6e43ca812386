package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/cluster"
	"github.com/perfgate/perfgate/node/quota"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/share"
	"github.com/perfgate/perfgate/store"
)

const pruneEvery = time.Minute // of idle buckets

// levelOfOwners is the level of nodes that understand whose a shared bucket is.
const levelOfOwners = 7

// limits are the counters that admission charges, and the memory for bodies.
type limits struct {
	running atomic.Pointer[quota.Grants] // grants, for other nodes' recalls; nil before there are any
	grants  *quota.Grants                // of months, from the cluster
	levels  *quota.Levels                // of minutes, this node's own
	since   int64                        // on clock; see quota.Levels.Resume
	bodies  *bodies.Memory
	clock   *clock.Clock
	mover   mover // of keys to the current pepper

	cluster *cluster.Cluster              // nil for a lone node; set by openState
	sharing atomic.Pointer[share.Sharing] // minutes, with the other nodes; nil before there is one, and for a lone node
}

// openLimits takes the levels of the last clean stop back. They are saved again
// when no request can charge them any more: the cleanup comes after those of the
// gate's users.
func (n *Node) openLimits() (err error) {
	l := &n.limits
	l.clock = n.clock
	l.bodies = bodies.NewMemory(n.options.Memory.bodies())
	l.grants = quota.NewGrants(quota.Config{
		Node: n.replica.Identity().ID, Ledger: n.store, Propose: n.proposeGrant, Recall: n.recall(), Logger: n.log, Now: n.clock.Now,
		Untaken: func(err error) bool { return errors.Is(err, replica.ErrNoLeader) },
	})
	l.running.Store(l.grants)
	l.levels = &quota.Levels{Marks: n.local, Ledger: n.store, Table: limiter.NewBuckets(n.options.Memory.buckets()), Logger: n.log, Fresh: n.startup.fresh}
	if l.since, err = l.levels.Resume(n.clock.Now()); err != nil {
		return err
	}
	if c := l.cluster; c != nil {
		self, boot := n.replica.Identity().ID, n.startup.bootIndex
		if c.New() {
			boot = 0 // entries that came while it started were not there before
		}
		saved, err := share.Take(n.local, n.clock.Now())
		if err != nil {
			return err
		}
		l.sharing.Store(share.New(share.Config{
			Saved: saved,
			Self:  self, Boot: c.Boot(), Pool: pool.NewBounded(self, n.options.Memory.shared()), Exchange: c.Exchange, Leased: c.Leased,
			Rosters: c.Rosters, Applied: n.store.Applied, Active: func() bool { return n.store.ClusterLevel() >= store.LevelOfRosters },
			Owners: func() bool { return n.store.ClusterLevel() >= levelOfOwners },
			Now:    n.clock.Now, Logger: n.log,
		}, boot))
	}
	n.cleanup("limits", func(ctx context.Context) error {
		if n.replica.Abandoned() {
			return nil
		}
		l.grants.Close(ctx)
		return errors.Join(l.keepShares(n.local), l.levels.Save(n.clock.Now()))
	})
	return nil
}

func (l *limits) keepShares(m share.Marks) error {
	if s := l.sharing.Load(); s != nil {
		return s.Keep(m)
	}
	return nil
}

// tick syncs the clock each second and removes idle buckets each minute.
func (l *limits) tick(ctx context.Context) {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			l.clock.Sync()
		case <-prune.C:
			now := l.clock.Now()
			l.grants.Prune(now, now-l.since)
			l.levels.Table.Prune(now)
		}
	}
}

// recall is [quota.Config.Recall]: nil for a node that is alone.
func (n *Node) recall() func(context.Context, []store.GrantAsk) error {
	if n.lone() {
		return nil
	}
	return n.replica.Coordinator().Recall
}

// serve answers another node's batch of limits.
func (l *limits) serve(node string, body []byte) ([]byte, error) {
	if s := l.sharing.Load(); s != nil {
		return s.Serve(node, body)
	}
	return nil, errors.New("the node is starting")
}

// follow takes the rosters over. A node that admits nothing yet takes them over when it
// begins to.
func (l *limits) follow() {
	if s := l.sharing.Load(); s != nil {
		s.Follow()
	}
}

// sharer is the part of admission in the limits of the cluster; nil for a lone node.
func (l *limits) sharer() admit.Sharer {
	if s := l.sharing.Load(); s != nil {
		return s
	}
	return nil
}

// yield is this node's part of another node's recall. Before it admits requests it
// holds nothing.
func (l *limits) yield(ctx context.Context, asks []store.GrantAsk) error {
	if g := l.running.Load(); g != nil {
		return g.Yield(ctx, asks)
	}
	return nil
}
