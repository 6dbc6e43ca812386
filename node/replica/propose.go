package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
)

// The bounds of one write.
const (
	ProposeTimeout = 10 * time.Second // that it waits before its outcome is unknown
	LeaderWait     = 2 * time.Second  // for a leader to be there
	MaxCommand     = 16 << 20         // bytes of its command
)

// WrongClock is how far a node's wall clock may be from the other nodes' until it is
// wrong: expiry is judged by each node's own.
const WrongClock = 5 * time.Second

// Bounds of waiting writes.
const (
	maxOutstanding = 1024 // writes under way at the leader; more are refused
	maxInner       = 256  // the same of nodes' own writes, which wait for no other node
	leaderPoll     = 10 * time.Millisecond
)

// Proposal is a command on its way to the leader, with its traits ([store.Traits]).
// They are read from the command itself by [Replica.judge], at the leader too.
type Proposal struct {
	Raw   []byte
	Takes bool
	Waits bool
	Vital bool
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
	p, err := r.judge(cmd, nil)
	if err != nil {
		return Receipt{}, err
	}
	if len(p.Raw) > MaxCommand {
		return Receipt{}, Decline(ErrTooLarge, "The change takes %d bytes; at most %d can be made at once.", len(p.Raw), MaxCommand)
	}
	var out Receipt
	err = r.WithLeader(ctx, func() (err error) {
		if r.Leads() {
			out, err = r.commit(ctx, p)
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

// judge makes a proposal of cmd, which is encoded as raw if that is not nil. It
// refuses a change that not all nodes of the cluster can apply.
func (r *Replica) judge(cmd *store.Command, raw []byte) (*Proposal, error) {
	if level := r.Store().ClusterLevel(); cmd.Level() > level {
		return nil, &Error{Reason: ErrUnavailable, RetryAfter: RetryAfter, Message: fmt.Sprintf(
			"Not all nodes of the cluster know this change (it needs level %d, the cluster is at %d); upgrade them first.", cmd.Level(), level)}
	}
	if raw == nil {
		raw = cmd.Encode()
	}
	return &Proposal{Raw: raw, Takes: cmd.Takes(), Waits: cmd.Waits(), Vital: cmd.Vital()}, nil
}

// CommitForwarded is the leader's part of a proposal that another node encoded.
func (r *Replica) CommitForwarded(ctx context.Context, raw []byte) (Receipt, error) {
	if r.coordinator.Fault() != nil {
		return Receipt{}, ErrNotTaken // another node leads soon
	}
	p, err := r.judgeForwarded(raw)
	if err != nil {
		return Receipt{}, err
	}
	return r.commit(ctx, p)
}

// judgeForwarded makes a proposal of a command that another node encoded. A command
// that this node cannot decode is refused: appended to the log, it would stop every
// node of this version.
func (r *Replica) judgeForwarded(raw []byte) (*Proposal, error) {
	cmd, err := store.DecodeCommand(raw)
	if err != nil {
		return nil, &Error{Reason: ErrUnknownCommand, RetryAfter: RetryAfter, Cause: err,
			Message: "The leader does not know this change; upgrade all nodes of the cluster to the same version, then repeat it."}
	}
	if err := r.timely(cmd); err != nil {
		return nil, err
	}
	return r.judge(cmd, raw)
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
		if err := r.awaitLeader(ctx, min(left, leaderPoll)); err != nil && ctx.Err() != nil {
			return Refuse(ErrNoLeader, err)
		}
		if err := r.Failed(); err != nil {
			return Refuse(ErrUnavailable, err)
		}
	}
}

// awaitLeader returns as soon as this node leads, and at the latest after limit.
func (r *Replica) awaitLeader(ctx context.Context, limit time.Duration) error {
	if !r.Leads() {
		return r.leads.wait(ctx, limit)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit is the leader's part: the entry, and the wait until every serving node
// has applied it.
func (r *Replica) commit(ctx context.Context, p *Proposal) (Receipt, error) {
	began := time.Now()
	if !p.Vital && (r.Full() || r.coordinator.Full()) {
		// Grants stay possible: they are small, few, and without them the node
		// would stop proxying.
		return Receipt{}, &Error{Reason: ErrDiskFull, RetryAfter: RetryAfter,
			Message: "The disk is full, so nothing can be changed until there is space; requests are served as before."}
	}
	slots := r.slots
	if !p.Waits {
		// Writes that wait for a node that is gone must not keep months from being granted.
		slots = r.inner
	}
	select {
	case slots <- struct{}{}:
	default:
		return Receipt{}, Refuse(ErrBusy, nil)
	}
	defer func() { <-slots }()
	free, err := r.admitLarge(ctx, len(p.Raw))
	if err != nil {
		return Receipt{}, err
	}
	defer free()
	res, term, err := r.apply(ctx, p.Raw)
	if err != nil {
		return Receipt{}, err
	}
	out := Receipt{Result: res, Revocation: Revocation{Index: res.Index, Effective: true}}
	if p.Waits && res.Refusal == nil {
		out.Revocation.Effective, out.Revocation.Nodes, err = r.coordinator.Settle(ctx, res.Index, term, p.Takes)
	} else {
		out.Revocation.Nodes = []Ack{r.ack()}
	}
	took := time.Since(began)
	out.Revocation.TookMS = took.Milliseconds()
	if err == nil && p.Takes {
		r.coordinator.Answered(took, out.Revocation.Nodes)
	}
	return out, err
}

// stamp makes an entry of a command: with this leader's clocks, once every node of the
// cluster reads such entries. A cluster that is not complete waits: a node of an older
// version may still join.
func (r *Replica) stamp(raw []byte) []byte {
	s := r.Store()
	if s.ClusterTime().IsZero() && (s.ClusterLevel() < store.LevelOfStamp || !r.coordinator.Complete()) {
		return raw
	}
	wall, mono := r.cfg.Clock()
	return store.Stamp{Wall: wall.UnixNano(), Mono: mono}.Put(raw)
}

// maxSkew is how far the time of a forwarded command may be from the leader's wall
// clock: clocks that differ by less than a wrong one's, and the way of the command.
const maxSkew = WrongClock + ProposeTimeout

// timely refuses a command of a node that has another time than this one. A node of
// this version refuses it by itself, if its clock is the wrong one.
func (r *Replica) timely(cmd *store.Command) error {
	wall, _ := r.cfg.Clock()
	if d := cmd.At.Sub(wall); d.Abs() > maxSkew {
		return &Error{Reason: ErrUnavailable, RetryAfter: RetryAfter, Message: fmt.Sprintf(
			"The clock of this node and the leader's differ by %v; set both by NTP, then repeat the change.", d.Abs().Round(time.Second))}
	}
	return nil
}

// ack is this node's: it answers only for entries that it has applied.
func (r *Replica) ack() Ack { return Ack{Name: r.cfg.Name, How: "applied"} }

// apply hands raw to Raft and waits for the answer of this node's state. Unless
// Raft certainly did not take it (ErrNotTaken), every doubt is an unknown outcome.
func (r *Replica) apply(ctx context.Context, raw []byte) (res store.Result, term uint64, err error) {
	type outcome struct {
		answer
		index uint64
		err   error
	}
	mark := r.confirm.mark()
	entry := r.stamp(raw)
	done := make(chan outcome, 1)
	go func() {
		// A future may never be answered, when Raft stops. Its goroutine then ends
		// with the process; its proposal has given back its slot by then.
		f, err := r.queue(entry)
		if err != nil {
			done <- outcome{err: err}
			return
		}
		if err := f.Error(); err != nil {
			done <- outcome{err: err}
			return
		}
		a, _ := f.Response().(answer)
		done <- outcome{answer: a, index: f.Index()}
	}()
	timer := time.NewTimer(ProposeTimeout)
	defer timer.Stop()
	var o outcome
	select {
	case o = <-done:
	case <-timer.C:
		o.err = errors.New("no answer in time")
	case <-ctx.Done():
		o.err = ctx.Err()
	case <-r.stopped:
		o.err = raft.ErrRaftShutdown
	}
	switch {
	case o.err != nil && notTaken(o.err):
		return res, 0, ErrNotTaken
	case o.err != nil:
		return res, 0, Refuse(ErrUnknownOutcome, o.err)
	}
	res, ok := o.response.(store.Result)
	if !ok {
		return res, 0, Refuse(ErrUnknownOutcome, fmt.Errorf("apply answered %T: %v", o.response, o.response))
	}
	r.confirm.served(mark, o.term)
	r.coordinator.Committed(o.index, o.term)
	return res, o.term, nil
}

// notTaken tells the errors after which Raft certainly holds nothing of the
// proposal.
func notTaken(err error) bool {
	return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrEnqueueTimeout) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress)
}

// Linearize returns once this node's state includes every write that was answered
// before the call.
func (r *Replica) Linearize(ctx context.Context) error { return r.coordinator.Linearize(ctx) }
