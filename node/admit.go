package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
)

// What a member answers nodes that have proved the cluster secret: see [former].

// changeWait bounds one change of Raft's configuration.
const changeWait = 5 * time.Second

// contactFresh is how recently a member must have been heard for another node not
// to take its place.
const contactFresh = 3 * time.Second

// answerJoin implements [mesh.JoinHandler] for a member.
func (c *cluster) answerJoin(ctx context.Context, kind string, body []byte, remote string) (any, error) {
	switch kind {
	case askInfo:
		var asker info
		if err := json.Unmarshal(body, &asker); err != nil {
			return nil, err
		}
		if c.r.Store().ClusterID() == "" {
			return nil, errors.New("it is about to begin the cluster")
		}
		out := info{ID: c.self.ID, Name: c.r.cfg.Name, ClusterID: c.r.Store().ClusterID(), Removed: c.r.Store().Removed(asker.ID)}
		if _, addr, ok := c.leader(); ok {
			out.Leader = addr
		}
		return out, nil
	case askJoin:
		var j joining
		if err := json.Unmarshal(body, &j); err != nil {
			return nil, err
		}
		return c.letIn(ctx, &j, remote)
	}
	return nil, fmt.Errorf("this node knows no request %q; give all nodes the same version", kind)
}

// letIn makes a node a member: its certificate is signed, it is written down, and
// Raft sends it the log without giving it a vote yet.
func (c *cluster) letIn(ctx context.Context, j *joining, remote string) (joined, error) {
	if !c.r.leads.isOpen() {
		id, addr, ok := c.leader()
		if !ok || string(id) == c.self.ID {
			return joined{}, errors.New("the cluster has no leader right now")
		}
		return joined{Leader: addr}, nil
	}
	s := c.r.Store()
	trust := s.Trust()
	if trust.CA == nil || c.creds.Load() == nil {
		return joined{}, errors.New("the cluster is not open to other nodes yet")
	}
	if level := s.ClusterLevel(); j.Level < level {
		return joined{}, fmt.Errorf("it runs version %s, which is too old for this cluster (level %d, the cluster is at %d); upgrade it", j.Version, j.Level, level)
	}
	c.joins.Lock()
	defer c.joins.Unlock()
	cert, err := mesh.SignNode(trust.CA, trust.CAKey, s.ClusterID(), j.ID, j.CSR, time.Now())
	if err != nil {
		return joined{}, err
	}
	if err := c.makeRoom(ctx, j); err != nil {
		return joined{}, err
	}
	if err := c.putMember(ctx, &j.facts); err != nil {
		return joined{}, err
	}
	c.told.put(&j.facts, c.Clock.Now()) // it was heard of just now
	if !c.isServer(j.ID) {
		if err := c.await(ctx, c.r.engine.raft.AddNonvoter(raft.ServerID(j.ID), raft.ServerAddress(j.Address), 0, changeWait)); err != nil {
			return joined{}, fmt.Errorf("add it to raft: %w", err)
		}
	}
	c.notices.Follow()
	c.log.Info("a node joins the cluster", "name", j.Name, "address", j.Address, "from", remote)
	return joined{ClusterID: s.ClusterID(), CA: trust.CA, Cert: cert}, nil
}

// makeRoom removes the member whose place j takes: one that was at its address,
// or had its name and is not heard of any more. A node that lost its disk comes
// back as another one.
func (c *cluster) makeRoom(ctx context.Context, j *joining) error {
	for _, m := range c.r.Store().Members() {
		if m.ID == j.ID || m.Address != j.Address && m.Name != j.Name {
			continue
		}
		if m.ID == c.self.ID {
			return fmt.Errorf("its name or address is that of %s, which lets nodes in right now; give it others", m.Name)
		}
		last := c.ledSince.Load() // a new leader has not heard of everybody yet
		if f, heard := c.told.of(m.ID); heard {
			last = f.seen
		}
		if c.Clock.Now()-last < int64(contactFresh) {
			return fmt.Errorf("there is a node %s at %s, heard of just now; if this one is to take its place, stop that one, else give this one another node.name and cluster.advertise", m.Name, m.Address)
		}
		c.log.Info("a node is replaced", "name", m.Name, "address", m.Address, "by", j.Address)
		if _, err := c.remove(ctx, m, systemActor(c.r.cfg.Name)); err != nil {
			return fmt.Errorf("remove %s, whose place it takes: %w", m.Name, err)
		}
	}
	return nil
}

// putMember writes down what a node told of itself.
func (c *cluster) putMember(ctx context.Context, f *facts) error {
	m := store.Member{
		ID: f.ID, Name: f.Name, Address: f.Address, Region: f.Region, Version: f.Version, Level: f.Level, Stale: f.Stale,
	}
	if old, ok := c.r.Store().Member(f.ID); ok && old.Removed.IsZero() && old.Facts(m) {
		return nil
	}
	old, _ := c.r.Store().Member(f.ID)
	rc, err := c.r.Propose(ctx, &store.Command{At: time.Now().UTC(), Actor: systemActor(c.r.cfg.Name), MemberPut: &store.MemberPut{Member: m}})
	if err := refusal(rc, err); err != nil {
		return err
	}
	if old.Stale && !m.Stale {
		c.table.Forget(m.ID) // it serves no more without a lease
	}
	return nil
}

// remove ends a node's membership: first its vote, so that it is in nobody's
// majority, then its name. When it returns, the node serves no more: its lease has
// ended by itself.
func (c *cluster) remove(ctx context.Context, m store.Member, who store.Actor) (httpapi.Revocation, error) {
	err := c.await(ctx, c.r.engine.raft.RemoveServer(raft.ServerID(m.ID), 0, changeWait))
	if errors.Is(err, raft.ErrNotLeader) {
		return httpapi.Revocation{}, errNotTaken
	}
	if err != nil {
		return httpapi.Revocation{}, refuse(fault.UnknownOutcome, err)
	}
	gossip := make([]byte, gossipKeySize)
	rand.Read(gossip)
	rc, err := c.r.Propose(ctx, &store.Command{
		At: time.Now().UTC(), Actor: who, Account: store.DefaultAccount, MemberRemove: &store.MemberRemove{ID: m.ID, Gossip: gossip},
	})
	if err := refusal(rc, err); err != nil {
		// The vote is gone; the leader's care does the rest. Nothing here may read as
		// errNotTaken.
		return httpapi.Revocation{}, refuse(fault.UnknownOutcome, fmt.Errorf("the node has no vote any more, and is still a member: %v", err))
	}
	c.table.Forget(m.ID)
	c.told.drop(m.ID)
	c.notices.Follow()
	return rc.Revocation, nil
}

// gossipKeySize chooses AES-256.
const gossipKeySize = 32

// await waits for one of Raft's futures, which may never be answered.
func (c *cluster) await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	timer := time.NewTimer(changeWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("raft does not answer")
	case <-ctx.Done():
		return ctx.Err()
	case <-c.r.stopped:
		return raft.ErrRaftShutdown
	}
}

func (c *cluster) isServer(id string) bool {
	for _, s := range c.servers() {
		if string(s.ID) == id {
			return true
		}
	}
	return false
}

func systemActor(name string) store.Actor {
	return store.Actor{Type: store.ActorSystem, ID: "system", Name: name}
}
