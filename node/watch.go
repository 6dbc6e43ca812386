package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/node/mesh"
)

// How a node that holds no lease looks for the reason.
const (
	lookEvery = time.Second
	lookAfter = 3 * time.Second // without a lease
)

// watch is what a node has found out about its own standing.
type watch struct {
	left   atomic.Bool // it stops, and asks for no lease any more
	skew   atomic.Int64
	reason atomic.Pointer[string] // why it is without a lease, if that could be found out
}

// lookAround asks the other nodes what is wrong while this one has no lease,
// until ctx ends: whether it was removed, belongs to another cluster, has another
// secret, or reaches nobody. What it finds stands in the log once and in the
// cluster's status.
func (c *cluster) lookAround(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	lost := c.Clock.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, now := c.Clock.Read(); c.lease.Left(now) > 0 || c.watch.left.Load() {
			lost = now
			c.watch.reason.Store(nil)
			c.clashes.over("isolated")
			continue
		} else if now-lost < int64(lookAfter) {
			continue
		}
		why, removed := c.diagnose(ctx)
		if removed {
			c.r.cfg.Fatal(errors.New(why))
			return
		}
		if ctx.Err() != nil {
			return
		}
		c.watch.reason.Store(&why)
		c.clashes.say("isolated", "this node has no serving lease", "because", why)
	}
}

// diagnose asks all addresses that this node knows.
func (c *cluster) diagnose(ctx context.Context) (why string, removed bool) {
	addrs := slices.Clone(c.Join)
	for _, m := range c.r.Store().Members() {
		if m.ID != c.self.ID {
			addrs = append(addrs, m.Address)
		}
	}
	slices.Sort(addrs)
	reached := 0
	var faults []string
	leader := false
	for _, a := range poll(ctx, c.Mesh, c.self.ID, slices.Compact(addrs)) {
		own := c.r.Store().ClusterID()
		if creds := c.creds.Load(); creds != nil {
			own = creds.ClusterID // the state may be older than what let this node in
		}
		switch {
		case a.err == nil && a.info.ID == c.self.ID:
		case a.err != nil:
			faults = append(faults, fmt.Sprintf("%s: %v", a.addr, a.err))
		case a.info.Removed && a.info.ClusterID == own:
			return mesh.ErrRemoved.Error(), true
		case a.info.ClusterID != "" && own != "" && a.info.ClusterID != own:
			faults = append(faults, fmt.Sprintf("%s belongs to cluster %s and this node to %s; correct cluster.join, or empty this node's data directory to join that cluster", a.addr, a.info.ClusterID, own))
		default:
			reached++
			leader = leader || a.info.Leader != ""
		}
	}
	switch {
	case len(faults) > 0:
		return join(faults), false
	case leader:
		return "it has not caught up with the leader yet", false
	case reached > 0:
		return "the nodes that it reaches have no leader", false
	}
	return "it knows no other node", false
}

func join(list []string) string {
	out := ""
	for i, s := range list {
		if i > 0 {
			out += "; "
		}
		out += s
	}
	return out
}
