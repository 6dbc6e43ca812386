package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// membership admits nodes to the cluster and removes them. Its methods run on the
// leader, except that every member answers requests for information.
type membership struct {
	*node
	clocks     *clocks
	peers      *peers
	leadership *leadership
	certs      *certificates
	founding   *founding
	joins      sync.Mutex // held while a node is admitted, one at a time, or removals are finished
	removals   sync.Mutex // held while an operator's removal is checked and made; taken first
}

// changeWait bounds one change of Raft's configuration.
const changeWait = 5 * time.Second

// contactFresh is how recently a member must have been heard for another node not
// to take its place.
const contactFresh = 3 * time.Second

// answerJoin implements [mesh.JoinHandler] for a member: it answers nodes that have
// proved the cluster secret; see [former].
func (mb *membership) answerJoin(ctx context.Context, kind string, body []byte, remote string) (any, error) {
	switch kind {
	case askInfo:
		var asker info
		if err := json.Unmarshal(body, &asker); err != nil {
			return nil, err
		}
		if mb.r.Store().ClusterID() == "" {
			return nil, errors.New("it is about to begin the cluster")
		}
		out := info{ID: mb.self.ID, Name: mb.Name, ClusterID: mb.r.Store().ClusterID(), Removed: mb.r.Store().Removed(asker.ID)}
		if _, addr, ok := mb.peers.leader(); ok {
			out.Leader = addr
		}
		return out, nil
	case askJoin:
		var j joinRequest
		if err := json.Unmarshal(body, &j); err != nil {
			return nil, err
		}
		return mb.admit(ctx, &j, remote)
	}
	return nil, fmt.Errorf("this node knows no request %q; give all nodes the same version", kind)
}

// admit makes a node a member: its certificate is signed, it is written down, and
// Raft sends it the log without giving it a vote yet.
func (mb *membership) admit(ctx context.Context, j *joinRequest, remote string) (joinAnswer, error) {
	if !mb.r.Leads() {
		id, addr, ok := mb.peers.leader()
		if !ok || string(id) == mb.self.ID {
			return joinAnswer{}, errors.New("the cluster has no leader right now")
		}
		return joinAnswer{Leader: addr}, nil
	}
	s := mb.r.Store()
	trust := s.Trust()
	if trust.CA == nil || mb.certs.creds.Load() == nil {
		return joinAnswer{}, errors.New("the cluster is not open to other nodes yet")
	}
	if level := s.ClusterLevel(); j.Level < level {
		return joinAnswer{}, fmt.Errorf("it runs version %s, which is too old for this cluster (level %d, the cluster is at %d); upgrade it", j.Version, j.Level, level)
	}
	if j.Region != mb.Region {
		return joinAnswer{}, errors.New(otherRegion(j.Region, mb.Region))
	}
	if err := mb.clocks.fault(); err != nil {
		return joinAnswer{}, err
	}
	mb.joins.Lock()
	defer mb.joins.Unlock()
	cert, err := mesh.SignNode(trust.CA, trust.CAKey, s.ClusterID(), j.ID, j.CSR, mb.Clock.Wall())
	if err != nil {
		return joinAnswer{}, err
	}
	if err := mb.makeRoom(ctx, j); err != nil {
		return joinAnswer{}, err
	}
	if err := mb.putMember(ctx, &j.selfReport); err != nil {
		return joinAnswer{}, err
	}
	j.Wall = mb.Clock.Wall()                                 // its own is as old as its first try
	mb.leadership.reports.put(&j.selfReport, mb.Clock.Now()) // it was heard of just now
	if !mb.isServer(j.ID) {
		if err := mb.await(ctx, mb.r.Raft().AddNonvoter(raft.ServerID(j.ID), raft.ServerAddress(j.Address), 0, changeWait)); err != nil {
			return joinAnswer{}, fmt.Errorf("add it to raft: %w", err)
		}
	}
	mb.leadership.notices.Follow()
	mb.log.Info("a node joins the cluster", "node", j.Name, "addr", j.Address, "from", remote)
	out := joinAnswer{ClusterID: s.ClusterID(), CA: trust.CA, Cert: cert, Founding: mb.founding.open()}
	if out.Founding == datadir.Founded && mb.Token != nil {
		out.OperatorToken = mb.Token(s.OperatorTokens())
	}
	return out, nil
}

// makeRoom removes the member that j replaces: one that was at its address,
// or had its name and is not heard of any more. A node that lost its disk comes
// back as another one.
func (mb *membership) makeRoom(ctx context.Context, j *joinRequest) error {
	for _, m := range mb.r.Store().Members() {
		if m.ID == j.ID || m.Address != j.Address && m.Name != j.Name {
			continue
		}
		if m.ID == mb.self.ID {
			return fmt.Errorf("its name or address is that of %s, which admits nodes right now; give it others", m.Name)
		}
		last := mb.leadership.ledSince.Load() // a new leader has not heard of everybody yet
		if f, heard := mb.leadership.reports.of(m.ID); heard {
			last = f.seen
		}
		if mb.Clock.Now()-last < int64(contactFresh) {
			return fmt.Errorf("there is a node %s at %s, heard of just now; if this one is to take its place, stop that one, else give this one another node.name and cluster.advertise", m.Name, m.Address)
		}
		mb.log.Info("a node is replaced", "node", m.Name, "addr", m.Address, "by", j.Address)
		if _, err := mb.remove(ctx, m, systemActor(mb.Name)); err != nil {
			return fmt.Errorf("remove %s, whose place it takes: %w", m.Name, err)
		}
	}
	return nil
}

// putMember makes a node's report its member record.
func (mb *membership) putMember(ctx context.Context, f *selfReport) error {
	m := store.Member{
		ID: f.ID, Name: f.Name, Address: f.Address, Region: f.Region, Version: f.Version, Level: f.Level, Stale: f.Stale,
	}
	if old, ok := mb.r.Store().Member(f.ID); ok && old.Removed.IsZero() && old.Facts(m) {
		return nil
	}
	old, _ := mb.r.Store().Member(f.ID)
	_, err := mb.r.Write(ctx, &store.Command{At: mb.Clock.Wall().UTC(), Actor: systemActor(mb.Name), Change: &store.MemberPut{Member: m}})
	if err != nil {
		return err
	}
	if old.Stale && !m.Stale {
		mb.leadership.table.Forget(m.ID) // it serves no more without a lease
	}
	return nil
}

// remove ends a node's membership: first its vote, so that it is in no
// majority, then its name. When it returns, the node serves no more: its lease has
// ended by itself.
func (mb *membership) remove(ctx context.Context, m store.Member, who store.Actor) (replica.Revocation, error) {
	err := mb.await(ctx, mb.r.Raft().RemoveServer(raft.ServerID(m.ID), 0, changeWait))
	if errors.Is(err, raft.ErrNotLeader) {
		return replica.Revocation{}, replica.ErrNotTaken
	}
	if err != nil {
		return replica.Revocation{}, replica.Refuse(replica.ErrUnknownOutcome, err)
	}
	gossip := make([]byte, gossipKeySize)
	rand.Read(gossip)
	rc, err := mb.r.Write(ctx, &store.Command{
		At: mb.Clock.Wall().UTC(), Actor: who, Account: store.DefaultAccount, Change: &store.MemberRemove{ID: m.ID, Gossip: gossip},
	})
	if err != nil {
		// The vote is gone; the reconciler does the rest. Nothing here may read as
		// ErrNotTaken.
		return replica.Revocation{}, replica.Refuse(replica.ErrUnknownOutcome, fmt.Errorf("the node is no longer a voter, but is still a member: %v", err)) //nolint:errorlint // must not read as ErrNotTaken
	}
	mb.leadership.table.Forget(m.ID)
	mb.leadership.reports.drop(m.ID)
	mb.leadership.notices.Follow()
	return rc.Revocation, nil
}

// gossipKeySize chooses AES-256.
const gossipKeySize = 32
