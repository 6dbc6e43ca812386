package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
)

// contactWait is how long a node may take to answer before an operator's change
// counts it as out of contact.
const contactWait = time.Second

// reached asks servers at once whether they are there, and returns those that answer
// within contactWait. Earlier reports prove less: a node that died a moment ago has
// sent some, too.
func (p *peers) reached(ctx context.Context, servers []raft.Server) map[raft.ServerID]bool {
	ctx, cancel := context.WithTimeout(ctx, contactWait)
	defer cancel()
	out := map[raft.ServerID]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, s := range servers {
		all.Go(func() {
			// Every version answers this call, and any answer will do.
			_, err := p.mesh.Call(ctx, p.addressOf(string(s.ID), string(s.Address)), string(s.ID), callStatus, nil)
			var status *mesh.StatusError
			if err == nil || errors.As(err, &status) {
				mu.Lock()
				defer mu.Unlock()
				out[s.ID] = true
			}
		})
	}
	all.Wait()
	return out
}

// manage is the leader's part of an operator's change.
func (mb *membership) manage(ctx context.Context, h *handover) (out replica.Revocation, err error) {
	if h.Transfer {
		return out, mb.leadership.transfer(ctx, h.To, h.Force)
	}
	mb.removals.Lock() // two removals must not count on each other's node
	defer mb.removals.Unlock()
	m, ok := mb.memberNamed(h.Remove)
	switch {
	case !ok:
		return out, replica.Decline(replica.ErrNotFound, "There is no node %.64q in this cluster.", h.Remove)
	case m.ID == mb.self.ID:
		return out, replica.Decline(replica.ErrConflict, "%s leads the cluster; transfer the leadership first, or stop it.", m.Name)
	}
	if !h.Force {
		rest := votersWithout(mb.servers(), m.ID)
		others := slices.DeleteFunc(slices.Clone(rest), func(s raft.Server) bool { return string(s.ID) == mb.self.ID })
		if missing := missingMajority(rest, mb.self.ID, mb.peers.reached(ctx, others)); len(missing) > 0 {
			return out, replica.Decline(replica.ErrWouldLoseQuorum, "%s", mb.lostBy(m.Name, len(rest), missing))
		}
	}
	if out, err = mb.remove(ctx, m, h.Actor); err != nil {
		return out, err
	}
	mb.log.Info("a node was removed", "node", m.Name, "addr", m.Address)
	return out, nil
}

// votersWithout are the voters that are left when the node id is removed.
func votersWithout(servers []raft.Server, id string) (rest []raft.Server) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter && string(s.ID) != id {
			rest = append(rest, s)
		}
	}
	return rest
}

// missingMajority is empty if the leader and the voters that were reached are a
// majority of the voters; otherwise it holds those that were not. Without a majority
// the cluster would have no leader, and the change itself would never be committed.
func missingMajority(voters []raft.Server, leader string, reached map[raft.ServerID]bool) (missing []raft.ServerID) {
	there := 0
	for _, s := range voters {
		if string(s.ID) == leader || reached[s.ID] {
			there++
		} else {
			missing = append(missing, s.ID)
		}
	}
	if there > len(voters)/2 {
		return nil
	}
	return missing
}

// lostBy is the reason for which the removal of a node is refused.
func (mb *membership) lostBy(name string, voters int, missing []raft.ServerID) string {
	var names []string
	for _, id := range missing {
		names = append(names, mb.nameOf(string(id)))
	}
	return fmt.Sprintf("Without %s, only %d of %d voters would be in contact, which is no majority; no answer from %s. Start that node or remove it first, or repeat with force=true.",
		name, voters-len(missing), voters, strings.Join(names, ", "))
}
