package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
)

// The bounds of a transfer, all within transferWait.
const (
	transferCatchUp = time.Second          // for the target to get the rest of the log
	transferLag     = promoteLag           // entries that it may be behind before
	transferPoll    = 2 * time.Millisecond // how often its progress is checked
)

// transfer hands leadership to the voter called to, or with "" to the one that has
// most of the log. It ends within transferWait; if the target has not taken over by
// then, this node leads on and takes writes again.
//
// It does without Raft's own transfer, which may refuse writes for good when the
// target does not answer (hashicorp/raft issue 696): that waits for the replication
// to the target, and this node's carrier does not give up on a message to a peer that
// is down.
func (l *leadership) transfer(ctx context.Context, to string, force bool) error {
	ctx, cancel := context.WithTimeout(ctx, transferWait)
	defer cancel()
	target, err := l.target(ctx, to, force)
	if err != nil || target.ID == "" {
		return err
	}
	release, ok := l.r.Hold()
	if !ok {
		return replica.Decline(replica.ErrConflict, "The leadership is being transferred already.")
	}
	defer release()
	if err := l.catchUp(ctx, target.ID); err != nil {
		return &replica.Error{Reason: replica.ErrUnavailable, RetryAfter: replica.RetryAfter, Cause: err,
			Message: fmt.Sprintf("%s has not got the whole log in time; %s still leads.", l.nameOf(string(target.ID)), l.Name)}
	}
	if err := l.depose(ctx, target); err != nil {
		return &replica.Error{Reason: replica.ErrUnavailable, RetryAfter: replica.RetryAfter, Cause: err,
			Message: fmt.Sprintf("%s has not taken over in time; %s still leads.", l.nameOf(string(target.ID)), l.Name)}
	}
	return nil
}

// target is the server that a transfer to the named node is for; its id is empty if
// that node leads already.
func (l *leadership) target(ctx context.Context, to string, force bool) (raft.Server, error) {
	var voters []raft.Server
	for _, s := range l.otherServers() {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		}
	}
	if len(voters) == 0 {
		return raft.Server{}, replica.Decline(replica.ErrConflict, "No other node has a vote.")
	}
	if to == "" {
		return l.bestOf(voters, l.peers.reached(ctx, voters))
	}
	m, ok := l.memberNamed(to)
	if !ok {
		return raft.Server{}, replica.Decline(replica.ErrNotFound, "There is no node %.64q in this cluster.", to)
	}
	if m.ID == l.self.ID {
		return raft.Server{}, nil
	}
	for _, s := range voters {
		if string(s.ID) != m.ID {
			continue
		}
		if force {
			return s, nil
		}
		if !l.peers.reached(ctx, []raft.Server{s})[s.ID] {
			return s, replica.Decline(replica.ErrWouldLoseQuorum, "%s does not answer within %v; a leader must be in contact with a majority.", m.Name, contactWait)
		}
		if behind := l.behind(s.ID); behind > transferLag {
			return s, replica.Decline(replica.ErrConflict, "%s is %d entries behind; wait until it has caught up.", m.Name, behind)
		}
		return s, nil
	}
	return raft.Server{}, replica.Decline(replica.ErrConflict, "%s is not a voter yet.", m.Name)
}

// bestOf is the voter in contact that has most of the log.
func (l *leadership) bestOf(voters []raft.Server, reached map[raft.ServerID]bool) (best raft.Server, err error) {
	for _, s := range voters {
		if reached[s.ID] && (best.ID == "" || l.behind(s.ID) < l.behind(best.ID)) {
			best = s
		}
	}
	if best.ID == "" {
		return best, replica.Decline(replica.ErrWouldLoseQuorum, "No other voter answers within %v.", contactWait)
	}
	return best, nil
}

// behind is how many entries of this leader's log a server is not known to have.
func (l *leadership) behind(id raft.ServerID) uint64 {
	last, has := l.r.LastIndex(), l.matched(id)
	return last - min(last, has)
}

// matched is the index up to which a server has this leader's log.
func (l *leadership) matched(id raft.ServerID) uint64 { return l.carrier.has.of(id, l.currentTerm()) }

// catchUp waits until the target has the whole log, of which the end no longer moves.
func (l *leadership) catchUp(ctx context.Context, id raft.ServerID) error {
	ctx, cancel := context.WithTimeout(ctx, transferCatchUp)
	defer cancel()
	if _, err := l.r.Flush(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(transferPoll)
	defer tick.Stop()
	for l.behind(id) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("it lacks %d entries: %w", l.behind(id), ctx.Err())
		}
	}
	return nil
}

// depose makes the target stand for election at once, and waits until it leads. Its
// log is complete, so that a majority elects it, with this node's vote if needed.
func (l *leadership) depose(ctx context.Context, target raft.Server) error {
	sent := make(chan error, 1)
	go func() { sent <- l.carrier.timeoutNow(l.self.ID, target) }() // bounded by transportTimeout
	tick := time.NewTicker(transferPoll)
	defer tick.Stop()
	for {
		if id, _, known := l.peers.leader(); known && string(id) != l.self.ID {
			return nil
		}
		select {
		case err := <-sent:
			if err != nil {
				return err
			}
			sent = nil
		case <-tick.C:
		case <-ctx.Done():
			if l.r.Raft().State() != raft.Leader {
				return nil // an election is under way
			}
			return ctx.Err()
		}
	}
}

// handOver gives leadership to another node, if this one leads and there is one.
func (l *leadership) handOver(ctx context.Context) {
	if l.r.Raft() == nil || l.r.Raft().State() != raft.Leader {
		return
	}
	if err := l.transfer(ctx, "", false); err != nil {
		l.log.Info("leadership was not handed over", "reason", err)
	}
}

// promote gives a server a vote. The leader's own configuration has it as soon as
// the change is proposed, while the next leader counts it only if the change was
// committed. Until then the status does not report it; otherwise an operator could
// take away another voter too early and leave no majority.
func (l *leadership) promote(ctx context.Context, id raft.ServerID, addr raft.ServerAddress) error {
	l.promoting.Store(&id)
	f := l.r.Raft().AddVoter(id, addr, 0, changeWait)
	return l.await(ctx, promotion{f, func() { l.promoting.CompareAndSwap(&id, nil) }})
}

// promotion is a future that calls done once it is answered, however late.
type promotion struct {
	raft.Future
	done func()
}

func (p promotion) Error() error {
	err := p.Future.Error()
	p.done()
	return err
}
