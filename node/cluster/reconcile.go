package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
)

// The rhythm of the reconciler.
const (
	reconcileEvery = 250 * time.Millisecond
	promoteAfter   = 3 * time.Second // that a nonvoter has kept up without a break
	promoteLag     = 1000            // entries that it may be behind
	orphanAfter    = time.Minute     // that a member was no server; one that joins asks again long before
	voterSilence   = time.Second     // a nonvoter that was not heard for so long starts again
)

// reconciler brings the cluster into line with its state: on every node the node's
// own part, on the leader the rest. The maps belong to the goroutine of run.
type reconciler struct {
	*node
	clocks     *clocks
	peers      *peers
	leadership *leadership
	holder     *holder
	certs      *certificates
	membership *membership
	founding   *founding

	gone    map[string]bool  // nodes that were reported as gone
	orphans map[string]int64 // members that are no servers, and since when
	dropped map[string]bool  // removed nodes, after their connections were closed

	settlement settlement
	relief     int64 // when this node may next hand the leadership over for its disk; see relieve
}

// run reconciles every reconcileEvery until ctx ends. A failed step is tried again.
func (rec *reconciler) run(ctx context.Context) {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	since := map[string]int64{} // when a nonvoter began to keep up
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		rec.follow()
		if !rec.r.Leads() || !rec.r.Store().Initialized() {
			clear(since)
			clear(rec.gone)
			clear(rec.orphans)
			continue
		}
		step, cancel := context.WithTimeout(ctx, changeWait)
		do := func() error { return rec.lead(step, since) }
		switch {
		case rec.clocks.fault() != nil:
			do = func() error { return rec.leadership.stepAside(step) }
		case rec.leadership.relieve(step, &rec.relief):
			do = func() error { return nil }
		}
		if err := do(); err != nil && ctx.Err() == nil {
			rec.troubles.say("members", "the cluster's members cannot be brought up to date; tried again", "error", err)
		} else {
			rec.troubles.over("members")
		}
		cancel()
	}
}

// follow takes over the changes of the state, on every node.
func (rec *reconciler) follow() {
	s := rec.r.Store()
	if err := rec.clocks.fault(); err != nil {
		rec.troubles.say("clock", "this node makes no changes and does not lead", "reason", err)
	} else {
		rec.troubles.over("clock")
	}
	if err := rec.certs.certify(rec.Clock.Wall()); err != nil {
		rec.troubles.say("certificate", "this node's cluster certificate cannot be made; tried again", "error", err)
	} else {
		rec.troubles.over("certificate")
	}
	if trust := s.Trust(); trust.CA != nil {
		rec.peers.keepGossip(trust.Gossip)
	}
	for _, id := range s.RemovedMembers() {
		if !rec.dropped[id] {
			rec.dropped[id] = true
			rec.mesh.Drop(id)
		}
	}
	rec.leadership.notices.Follow()
	rec.founding.follow()
}

// lead is the leader's part. A failure with one node does not keep it from the
// others.
func (rec *reconciler) lead(ctx context.Context, since map[string]int64) error {
	if err := rec.openTrust(ctx); err != nil {
		return err
	}
	faults := []error{rec.membership.putMember(ctx, rec.holder.selfReport(rec.Clock.Wall())), rec.finishRemovals(ctx), rec.share(ctx), rec.beginFingerprint(ctx)}
	for _, s := range rec.servers() {
		if err := rec.reconcileServer(ctx, s, since); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", rec.nameOf(string(s.ID)), err))
		}
	}
	return errors.Join(faults...)
}

// finishRemovals removes members that are servers no more: their removal was begun,
// and its leader could not end it.
func (rec *reconciler) finishRemovals(ctx context.Context) error {
	if !rec.membership.joins.TryLock() {
		return nil // a node is admitted as a member first and as a server then
	}
	defer rec.membership.joins.Unlock()
	var faults []error
	now := rec.Clock.Now()
	for _, m := range rec.r.Store().Members() {
		if m.ID == rec.self.ID || rec.isServer(m.ID) {
			delete(rec.orphans, m.ID)
			continue
		}
		if rec.orphans[m.ID] == 0 {
			rec.orphans[m.ID] = now
		}
		if now-rec.orphans[m.ID] < int64(orphanAfter) {
			continue
		}
		if _, err := rec.membership.remove(ctx, m, systemActor(rec.Name)); err != nil {
			faults = append(faults, fmt.Errorf("remove %s: %w", m.Name, err))
		}
	}
	return errors.Join(faults...)
}

// reconcileServer brings one server up to date. since says when those without a vote began to
// keep up.
func (rec *reconciler) reconcileServer(ctx context.Context, s raft.Server, since map[string]int64) error {
	id, now := string(s.ID), rec.Clock.Now()
	if rec.r.Store().Removed(id) && id != rec.self.ID {
		// Half a removal the other way round: an older log brought the server back.
		return rec.await(ctx, rec.r.Raft().RemoveServer(s.ID, 0, changeWait))
	}
	f, heard := rec.leadership.reports.of(id)
	rec.logPresence(id, heard, now-f.seen)
	if !heard || now-f.seen > int64(voterSilence) {
		delete(since, id)
		return nil
	}
	fault := rec.membership.putMember(ctx, &f)
	if f.Address != string(s.Address) {
		if err := rec.moved(ctx, s, f.Address); err != nil {
			return err
		}
	}
	if s.Suffrage != raft.Voter && keptUp(since, id, f.Applied, rec.r.Store().Applied(), now, rec.promoteAfter()) {
		if err := rec.leadership.promote(ctx, s.ID, raft.ServerAddress(f.Address)); err != nil {
			return err
		}
		rec.log.Info("node is now a voter", "node", f.Name)
		delete(since, id)
	}
	return fault
}

// promoteAfter is how long a nonvoter must have kept up to get a vote. While the
// cluster is founded, that is at once: the earlier it has its voters, the better.
func (rec *reconciler) promoteAfter() time.Duration {
	if rec.founding.now() == datadir.Founded {
		return 0
	}
	return promoteAfter
}

// keptUp reports whether a nonvoter that was heard of just now has kept up for
// the time after without a break, so that a vote of its cannot hold up commits. since
// says when it began to.
func keptUp(since map[string]int64, id string, applied, leader uint64, now int64, after time.Duration) bool {
	switch began, counted := since[id]; {
	case applied+promoteLag < leader:
		delete(since, id)
	case !counted:
		since[id] = now
	default:
		return now-began >= int64(after)
	}
	return false
}

// logPresence logs, once, that a node is gone and that it is back.
func (rec *reconciler) logPresence(id string, heard bool, silence int64) {
	if !heard { // as long as this node leads
		silence = rec.Clock.Now() - rec.leadership.ledSince.Load()
	}
	switch gone, back := presence(rec.gone[id], heard, silence); {
	case gone:
		rec.gone[id] = true
		rec.log.Warn("a node is not heard of any more", "node", rec.nameOf(id))
	case back:
		delete(rec.gone, id)
		rec.log.Info("a node is back", "node", rec.nameOf(id))
	}
}

// presence reports whether a node is gone now, or back, that was gone before or was
// not, and is silent for some nanoseconds.
func presence(was, heard bool, silence int64) (gone, back bool) {
	silent := silence > int64(2*voterSilence)
	return silent && !was, was && heard && !silent
}

// moved writes a server's new address into Raft's configuration. Nodes reach it
// before: they look addresses up in gossip.
func (rec *reconciler) moved(ctx context.Context, s raft.Server, addr string) error {
	rec.log.Info("node has another address", "node", rec.nameOf(string(s.ID)), "addr", addr)
	if s.Suffrage == raft.Voter {
		return rec.await(ctx, rec.r.Raft().AddVoter(s.ID, raft.ServerAddress(addr), 0, changeWait))
	}
	return rec.await(ctx, rec.r.Raft().AddNonvoter(s.ID, raft.ServerAddress(addr), 0, changeWait))
}

// openTrust makes the certificate authority of a cluster that has none.
func (rec *reconciler) openTrust(ctx context.Context) error {
	if rec.r.Store().Trust().CA != nil {
		return nil
	}
	ca, key, err := mesh.NewCA(rec.r.Store().ClusterID(), rec.Clock.Wall())
	if err != nil {
		return err
	}
	gossip := make([]byte, gossipKeySize)
	rand.Read(gossip)
	_, err = rec.r.Write(ctx, &store.Command{
		At: rec.Clock.Wall().UTC(), Actor: systemActor(rec.Name),
		Change: &store.ClusterOpen{CA: ca, CAKey: key, Gossip: gossip},
	})
	return err
}
