package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
)

// How a node that holds no lease looks for the reason.
const (
	diagnoseEvery = time.Second
	diagnoseAfter = 3 * time.Second // without a lease
	suspectAfter  = time.Second     // without a leader, though with a lease: it may have been removed
)

// diagnosis finds out why this node is without a lease.
type diagnosis struct {
	*node
	peers  *peers
	holder *holder
	certs  *certificates
	reason atomic.Pointer[string] // nil while the node has a lease, or the reason is not known; set by run
}

// run asks the other nodes for the reason while this one has no lease,
// until ctx ends: whether it was removed, belongs to another cluster, has another
// secret, or reaches nobody. The reason is logged once and is in the
// cluster's status. A node that was removed ends. Most are not sent the entry
// of their removal: they ask as soon as they have no leader, since the lease lasts longer.
func (d *diagnosis) run(ctx context.Context) {
	tick := time.NewTicker(diagnoseEvery)
	defer tick.Stop()
	lost := d.Clock.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if d.isRemoved() {
			d.r.Fail(mesh.ErrRemoved)
			return
		}
		_, now := d.Clock.Read()
		holds := d.holder.lease.Left(now) > 0 || d.holder.left.Load()
		if holds {
			lost = now
			d.reason.Store(nil)
			d.troubles.over("isolated")
		}
		if !holds && now-lost < int64(diagnoseAfter) || holds && !d.leaderless(now) {
			continue
		}
		why, removed := d.diagnose(ctx)
		if removed {
			d.r.Fail(errors.New(why))
			return
		}
		if ctx.Err() != nil {
			return
		}
		if holds {
			continue
		}
		d.reason.Store(&why)
		d.troubles.say("isolated", "this node has no serving lease", "reason", why)
	}
}

// leaderless reports whether this node has had no leader for suspectAfter.
func (d *diagnosis) leaderless(now int64) bool {
	_, _, ok := d.peers.leader()
	return !ok && now-d.holder.changed.Load() > int64(suspectAfter)
}

// refused reports whether the node at addr knows by its state that this one was
// removed. It answers so to this node's certificate, whatever its secret is.
func (d *diagnosis) refused(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	_, err := d.mesh.Call(ctx, addr, "", callStatus, nil)
	return errors.Is(err, mesh.ErrRemoved)
}

// diagnose asks all addresses that this node knows.
func (d *diagnosis) diagnose(ctx context.Context) (why string, removed bool) {
	addrs := slices.Clone(d.Join)
	for _, m := range d.r.Store().Members() {
		if m.ID != d.self.ID {
			addrs = append(addrs, m.Address)
		}
	}
	slices.Sort(addrs)
	reached := 0
	var faults []string
	leader := false
	for _, a := range poll(ctx, d.mesh.Ask, d.self.ID, slices.Compact(addrs)) {
		own := d.r.Store().ClusterID()
		if creds := d.certs.creds.Load(); creds != nil {
			own = creds.ClusterID // the state may be older than the cluster that admitted this node
		}
		switch {
		case a.err == nil && a.info.ID == d.self.ID:
		case a.err != nil && d.refused(ctx, a.addr):
			return mesh.ErrRemoved.Error(), true
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

// addOwn adds the reason that this node has found for itself.
func (d *diagnosis) addOwn(s *replica.Status) {
	if why := d.reason.Load(); why != nil {
		s.Reasons = append(s.Reasons, d.Name+": "+*why)
	}
	s.Healthy = len(s.Reasons) == 0
}
