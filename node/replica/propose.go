package replica

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
)

// The bounds of one write.
const (
	ProposeTimeout = 10 * time.Second // that it waits before its outcome is unknown
	MaxCommand     = 16 << 20         // bytes of its command
	// LeaderWait is how long it waits for a leader to be there. The refusal reaches the
	// client within 2 s of its call.
	LeaderWait = 1800 * time.Millisecond
)

// WrongClock is how far a node's wall clock may be from the other nodes' until it is
// wrong: expiry is judged by each node's own.
const WrongClock = 5 * time.Second

// leaderPoll is how often a write looks whether it can be made meanwhile.
const leaderPoll = 10 * time.Millisecond

// Proposal is a command on its way to the leader, with its traits ([store.Traits]).
// They are read from the command itself, at the leader too.
type Proposal struct {
	Raw     []byte
	Account store.AccountID
	Takes   bool
	Waits   bool
	Vital   bool
	Founds  bool // see [store.Command.Founds]
}

// Propose hands cmd to the leader once and returns when every serving node has
// applied it. A refusal by apply is in the receipt, not in the error; errors are
// [*Error].
func (r *Replica) Propose(ctx context.Context, cmd *store.Command) (Receipt, error) {
	if err := r.Failed(); err != nil {
		return Receipt{}, Refuse(ErrUnavailable, err)
	}
	if err := r.coordinator.Fault(); err != nil {
		return Receipt{}, Decline(ErrUnavailable, "Nothing can be changed through this node: %v.", err)
	}
	p, err := r.committer.judge(cmd, nil)
	if err != nil {
		return Receipt{}, err
	}
	if len(p.Raw) > MaxCommand {
		return Receipt{}, Decline(ErrTooLarge, "The change takes %d bytes; at most %d can be made at once.", len(p.Raw), MaxCommand)
	}
	var out Receipt
	err = r.WithLeader(ctx, func() (err error) {
		if r.Leads() {
			out, err = r.committer.commit(ctx, p)
		} else {
			out, err = r.coordinator.Forward(ctx, p)
		}
		return err
	})
	return out, err
}

// Write proposes cmd and returns a refusal by apply as an error, too.
func (r *Replica) Write(ctx context.Context, cmd *store.Command) (Receipt, error) {
	out, err := r.Propose(ctx, cmd)
	if err == nil && out.Refusal != nil {
		err = out.Refusal
	}
	return out, err
}

// CommitForwarded is the leader's part of a proposal that another node encoded.
func (r *Replica) CommitForwarded(ctx context.Context, raw []byte) (Receipt, error) {
	if r.coordinator.Fault() != nil {
		return Receipt{}, ErrNotTaken // another node leads soon
	}
	p, err := r.committer.judgeForwarded(raw)
	if err != nil {
		return Receipt{}, err
	}
	return r.committer.commit(ctx, p)
}

// TakesAt reports whether the entry at index may take a right away, by the entry
// itself. Where the log no longer holds it, or it is none that this node can judge,
// the answer is yes: then it is waited for longer than it needs to be.
func (r *Replica) TakesAt(index uint64) bool {
	var entry raft.Log
	if err := r.engine.log.GetLog(index, &entry); err != nil || entry.Type != raft.LogCommand {
		return true
	}
	cmd, err := store.DecodeEntry(entry.Data)
	return err != nil || cmd.Takes()
}

// WithLeader calls do until it reports another error than ErrNotTaken, at most
// for as long as a leader may take to be found.
func (r *Replica) WithLeader(ctx context.Context, do func() error) error {
	began := time.Now()
	for {
		err := do()
		if !errors.Is(err, ErrNotTaken) {
			return err
		}
		left := LeaderWait - time.Since(began)
		if left <= 0 {
			return Refuse(ErrNoLeader, err)
		}
		// Another node may lead by then, or this one take entries again.
		if err := r.leadership.await(ctx, min(left, leaderPoll)); err != nil && ctx.Err() != nil {
			return Refuse(ErrNoLeader, err)
		}
		if err := r.Failed(); err != nil {
			return Refuse(ErrUnavailable, err)
		}
	}
}

// Linearize returns once this node's state includes every write that was answered
// before the call.
func (r *Replica) Linearize(ctx context.Context) error { return r.coordinator.Linearize(ctx) }
