package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
)

// overseeEvery is how often a leader looks whether it gets on.
const overseeEvery = 250 * time.Millisecond

// overseer ends a leadership under which nothing is confirmed, whatever the reason. Raft
// itself asks for contact with a majority, and answers heartbeats from memory: a leader
// whose log or state machine stands still would lead on, and every write would wait.
type overseer struct {
	*node
	peers      *peers
	leadership *leadership

	began int64 // when the term in which this node leads was seen first; used by run alone
	term  uint64
}

// unconfirmed is the time since which no entry was confirmed although one was asked for.
type unconfirmed struct{ since atomic.Int64 } // by this node's clock; 0: the last one was confirmed

func (u *unconfirmed) asked(now int64) { u.since.CompareAndSwap(0, now) }
func (u *unconfirmed) confirmed()      { u.since.Store(0) }

// errApplying is the reason for which only a node that has applied more can lead better. Where
// all nodes take long for the same changes, another leader would serve no sooner, and could
// renew no lease before it has applied them.
var errApplying = errors.New("its state machine has been at the same changes")

// run looks until ctx ends.
func (o *overseer) run(ctx context.Context) {
	tick := time.NewTicker(overseeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if why := o.stalled(o.Clock.Now()); why != nil {
			o.end(ctx, why)
		}
	}
}

// stalled is why this node should not lead any more; nil if it does not lead, or gets on.
func (o *overseer) stalled(now int64) error {
	rf, live := o.r.Raft(), replica.LivenessOf(o.r)
	if rf.State() != raft.Leader {
		o.term = 0
		return nil
	}
	if term := rf.CurrentTerm(); term != o.term {
		o.term, o.began = term, now
	}
	limit := live.Limit()
	if now-o.began < int64(limit) {
		return nil // it may have begun with work of the term before
	}
	if d := live.ApplyingFor(); d > limit {
		return fmt.Errorf("%w for %v", errApplying, d.Round(time.Millisecond))
	}
	since := o.leadership.unconfirmed.since.Load()
	if d := time.Duration(now - max(since, o.began)); since != 0 && d > limit {
		return fmt.Errorf("no entry of its log was confirmed for %v", d.Round(time.Millisecond))
	}
	return nil
}

// end has the voter stand for election that has most of the log, if a majority is in contact:
// else no other node could be elected. A voter that answers may still be unable to stand for
// election, its disk for example: then this node leads on. Where another one leads a later
// term and this node's Raft does not even notice, the node ends, for it would never catch up.
func (o *overseer) end(ctx context.Context, why error) {
	voters := votersWithout(o.servers(), o.self.ID)
	reached := o.peers.reached(ctx, voters)
	if len(voters) == 0 || len(missingMajority(append(slices.Clone(voters), raft.Server{ID: raft.ServerID(o.self.ID)}), o.self.ID, reached)) > 0 {
		o.troubles.say("oversee", "this node leads and does not get on; no majority is in contact to replace it", "reason", why)
		return
	}
	if errors.Is(why, errApplying) {
		applied := o.r.Store().Applied()
		voters = slices.DeleteFunc(voters, func(s raft.Server) bool {
			f, heard := o.leadership.reports.of(string(s.ID))
			return !heard || f.Applied <= applied
		})
		if len(voters) == 0 {
			o.troubles.say("oversee", "this node leads and does not get on; no other node has applied more", "reason", errApplying)
			return
		}
	}
	target, err := o.leadership.bestOf(voters, reached)
	if err == nil {
		wait, cancel := context.WithTimeout(ctx, transferWait)
		err = o.leadership.depose(wait, target)
		cancel()
	}
	if ctx.Err() != nil {
		return
	}
	if o.r.Raft().State() == raft.Leader && o.r.Raft().CurrentTerm() == o.term {
		if o.replaced(ctx, voters) {
			o.r.Fail(errors.Join(fmt.Errorf("another node leads, and the Raft of this one does not notice it: %w; start it again", why), err))
			return
		}
		o.troubles.say("oversee", "this node leads and does not get on; no other node was elected in its place", "reason", errors.Join(why, err))
		return
	}
	o.troubles.over("oversee")
	o.log.Error("this node led and did not get on; another one leads", "reason", why, "node", o.nameOf(string(target.ID)))
}

// replaced reports whether one of voters knows the leader of a later term than that in which
// this node leads.
func (o *overseer) replaced(ctx context.Context, voters []raft.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, contactWait)
	defer cancel()
	for _, s := range voters {
		status, err := call[wireStatus](ctx, o.mesh, o.peers.addressOf(string(s.ID), string(s.Address)), string(s.ID), callStatus, nil)
		if err == nil && status.Leader != "" && status.Term > o.term {
			return true
		}
	}
	return false
}
