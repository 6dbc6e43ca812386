package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
)

// How members are looked after.
const (
	careEvery    = 250 * time.Millisecond
	promoteAfter = 3 * time.Second // that a nonvoter has kept up without a break
	promoteLag   = 1000            // entries that it may be behind
	orphanAfter  = time.Minute     // that a member was no server; one that joins asks again long before
	voterSilence = time.Second     // a nonvoter that was not heard for so long begins anew
)

// care does what keeps the cluster as its members and its operators want it,
// every now and then until ctx ends: on every node what concerns itself, on the
// leader the rest. A failed step is tried again.
func (c *cluster) care(ctx context.Context) {
	tick := time.NewTicker(careEvery)
	defer tick.Stop()
	since := map[string]int64{} // when a nonvoter began to keep up
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.follow()
		if !c.r.leads.isOpen() || !c.r.Store().Initialized() {
			clear(since)
			clear(c.gone)
			clear(c.orphans)
			continue
		}
		step, cancel := context.WithTimeout(ctx, changeWait)
		if err := c.lead(step, since); err != nil && ctx.Err() == nil {
			c.clashes.say("care", "the cluster's members cannot be brought up to date; tried again", "error", err)
		} else {
			c.clashes.over("care")
		}
		cancel()
	}
}

// follow takes over what has changed in the state.
func (c *cluster) follow() {
	s := c.r.Store()
	if err := c.certify(time.Now()); err != nil {
		c.clashes.say("certificate", "this node's cluster certificate cannot be made; tried again", "error", err)
	} else {
		c.clashes.over("certificate")
	}
	if trust := s.Trust(); trust.CA != nil {
		c.keepGossip(trust.Gossip)
	}
	for _, id := range s.RemovedMembers() {
		if !c.dropped[id] {
			c.dropped[id] = true
			c.Mesh.Drop(id)
		}
	}
	c.notices.Follow()
}

// lead is the leader's care. What cannot be done for one node does not keep it
// from the others.
func (c *cluster) lead(ctx context.Context, since map[string]int64) error {
	if err := c.openTrust(ctx); err != nil {
		return err
	}
	faults := []error{c.putMember(ctx, c.facts(time.Now())), c.finishRemovals(ctx)}
	for _, s := range c.servers() {
		if err := c.tend(ctx, s, since); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", c.nameOf(string(s.ID)), err))
		}
	}
	return errors.Join(faults...)
}

// finishRemovals removes members that are servers no more: their removal was begun,
// and its leader could not end it.
func (c *cluster) finishRemovals(ctx context.Context) error {
	if !c.joins.TryLock() {
		return nil // one that is let in is a member first and a server then
	}
	defer c.joins.Unlock()
	var faults []error
	now := c.Clock.Now()
	for _, m := range c.r.Store().Members() {
		if m.ID == c.self.ID || c.isServer(m.ID) {
			delete(c.orphans, m.ID)
			continue
		}
		if c.orphans[m.ID] == 0 {
			c.orphans[m.ID] = now
		}
		if now-c.orphans[m.ID] < int64(orphanAfter) {
			continue
		}
		if _, err := c.remove(ctx, m, systemActor(c.r.cfg.Name)); err != nil {
			faults = append(faults, fmt.Errorf("remove %s: %w", m.Name, err))
		}
	}
	return errors.Join(faults...)
}

// tend brings one server up to date. since says when those without a vote began to
// keep up.
func (c *cluster) tend(ctx context.Context, s raft.Server, since map[string]int64) error {
	id, now := string(s.ID), c.Clock.Now()
	if c.r.Store().Removed(id) && id != c.self.ID {
		// Half a removal the other way round: an older log brought the server back.
		return c.await(ctx, c.r.engine.raft.RemoveServer(s.ID, 0, changeWait))
	}
	f, heard := c.told.of(id)
	c.tellPresence(id, heard, now-f.seen)
	if !heard || now-f.seen > int64(voterSilence) {
		delete(since, id)
		return nil
	}
	fault := c.putMember(ctx, &f)
	if f.Address != string(s.Address) {
		if err := c.moved(ctx, s, f.Address); err != nil {
			return err
		}
	}
	switch {
	case s.Suffrage == raft.Voter:
	case f.Applied+promoteLag < c.r.Store().Applied():
		delete(since, id)
	case since[id] == 0:
		since[id] = now
	case now-since[id] >= int64(promoteAfter):
		if err := c.await(ctx, c.r.engine.raft.AddVoter(s.ID, raft.ServerAddress(f.Address), 0, changeWait)); err != nil {
			return err
		}
		c.log.Info("a node votes from now on", "name", f.Name)
		delete(since, id)
	}
	return fault
}

// tellPresence tells in the log, once, that a node is gone and that it is back.
func (c *cluster) tellPresence(id string, heard bool, silence int64) {
	switch gone := !heard && c.Clock.Now()-c.ledSince.Load() > int64(2*voterSilence) || heard && silence > int64(2*voterSilence); {
	case gone && !c.gone[id]:
		c.gone[id] = true
		c.log.Warn("a node is not heard of any more", "name", c.nameOf(id))
	case heard && !gone && c.gone[id]:
		delete(c.gone, id)
		c.log.Info("a node is back", "name", c.nameOf(id))
	}
}

// moved writes a server's new address into Raft's configuration. Nodes reach it
// before: they look addresses up by what gossip says.
func (c *cluster) moved(ctx context.Context, s raft.Server, addr string) error {
	c.log.Info("a node has another address", "name", c.nameOf(string(s.ID)), "address", addr)
	if s.Suffrage == raft.Voter {
		return c.await(ctx, c.r.engine.raft.AddVoter(s.ID, raft.ServerAddress(addr), 0, changeWait))
	}
	return c.await(ctx, c.r.engine.raft.AddNonvoter(s.ID, raft.ServerAddress(addr), 0, changeWait))
}

// openTrust makes the certificate authority of a cluster that has none.
func (c *cluster) openTrust(ctx context.Context) error {
	if c.r.Store().Trust().CA != nil {
		return nil
	}
	ca, key, err := mesh.NewCA(c.r.Store().ClusterID(), time.Now())
	if err != nil {
		return err
	}
	gossip := make([]byte, gossipKeySize)
	rand.Read(gossip)
	rc, err := c.r.Propose(ctx, &store.Command{
		At: time.Now().UTC(), Actor: systemActor(c.r.cfg.Name),
		ClusterOpen: &store.ClusterOpen{CA: ca, CAKey: key, Gossip: gossip},
	})
	return refusal(rc, err)
}

// certify signs this node's certificate with the cluster's authority, which every
// member has, if it has none of this cluster's or an old one.
func (c *cluster) certify(now time.Time) error {
	s := c.r.Store()
	trust := s.Trust()
	if trust.CA == nil || c.r.Store().Removed(c.self.ID) {
		return nil
	}
	switch own := c.creds.Load(); {
	case own == nil:
	case own.ClusterID == s.ClusterID():
		if !own.NeedsRenewal(now) {
			return nil
		}
	case !c.r.leads.isOpen() && c.lease.Left(c.Clock.Now()) == 0:
		// The state is of another cluster than the one that let this node in: it begins
		// with what was restored there, and has not got to the entry that made it a new
		// one. It must not take the old authority for its own.
		return nil
	}
	key, err := mesh.NewNodeKey()
	if err != nil {
		return err
	}
	csr, err := mesh.NewRequest(key, c.self.ID)
	if err != nil {
		return err
	}
	cert, err := mesh.SignNode(trust.CA, trust.CAKey, s.ClusterID(), c.self.ID, csr, now)
	if err != nil {
		return err
	}
	creds := &mesh.Credentials{ClusterID: s.ClusterID(), CAs: [][]byte{trust.CA}, Cert: cert, Key: key}
	if err := creds.Save(c.r.space, c.r.cfg.Dir); err != nil {
		return err
	}
	if err := c.Mesh.SetCredentials(creds); err != nil {
		return err
	}
	c.creds.Store(creds)
	c.log.Info("cluster certificate made", "until", creds.Expiry())
	return nil
}
