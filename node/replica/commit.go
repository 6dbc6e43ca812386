package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
)

// Bounds of waiting writes.
const (
	maxOutstanding = 1024 // writes under way at the leader; more are refused
	maxInner       = 256  // the same of nodes' own writes, which wait for no other node
)

// committer makes proposals of commands, and at the leader entries of proposals, for
// which it waits until they are in force. Any goroutine may use it once Raft runs.
type committer struct {
	name        string                    // this node's
	clock       func() (time.Time, int64) // [Config.Clock]
	space       *disk.Space
	engine      *engine
	appender    *appender
	confirm     *confirmer
	coordinator Coordinator
	stopped     <-chan struct{} // [Replica.Stopped]

	slots  chan struct{} // holds one for each write under way that a caller waits for
	inner  chan struct{} // holds one for each write of a node's own
	large  room          // bytes of the large writes under way; has a lock of its own
	taking room          // the same of those that take rights away

	reserve reserve // of a full disk; has a lock of its own
}

// judge makes a proposal of cmd, which is encoded as raw if that is not nil. It
// refuses a change that not all nodes of the cluster can apply.
func (c *committer) judge(cmd *store.Command, raw []byte) (*Proposal, error) {
	if level := c.engine.state.ClusterLevel(); cmd.Level() > level {
		return nil, &Error{Reason: ErrUnavailable, RetryAfter: RetryAfter, Message: fmt.Sprintf(
			"Not all nodes of the cluster know this change (it needs level %d, the cluster is at %d); upgrade them first.", cmd.Level(), level)}
	}
	if raw == nil {
		known := *cmd
		known.Request = cmd.Request.Until(c.engine.state.ClusterLevel())
		raw = known.Encode()
	}
	return &Proposal{Raw: raw, Account: cmd.Account, Takes: cmd.Takes(), Waits: cmd.Waits(), Vital: cmd.Vital(), Founds: cmd.Founds()}, nil
}

// judgeForwarded makes a proposal of a command that another node encoded. A command
// that this node cannot decode is refused: appended to the log, it would stop every
// node of this version.
func (c *committer) judgeForwarded(raw []byte) (*Proposal, error) {
	cmd, err := store.DecodeCommand(raw)
	if err != nil {
		return nil, &Error{Reason: ErrUnknownCommand, RetryAfter: RetryAfter, Cause: err,
			Message: "The leader does not know this change; upgrade all nodes of the cluster to the same version, then repeat it."}
	}
	if err := c.timely(cmd); err != nil {
		return nil, err
	}
	return c.judge(cmd, raw)
}

// commit is the leader's part: the entry, and the wait until every serving node
// has applied it.
func (c *committer) commit(ctx context.Context, p *Proposal) (Receipt, error) {
	began := time.Now()
	if !p.Founds && !c.engine.state.Initialized() {
		// A leader has applied everything from before its term: there is no state anywhere.
		return Receipt{}, &Error{Reason: ErrUnavailable, RetryAfter: RetryAfter, Message: "The cluster has no state yet, which a node that founds it " +
			"makes when it starts; wait until the node is ready, then repeat the change."}
	}
	if full := c.space.Full() || c.coordinator.Full(); !c.reserve.admits(full, p) {
		return Receipt{}, &Error{Reason: ErrDiskFull, RetryAfter: RetryAfter, Message: "The disk is full, so nothing can be changed " +
			"until there is space, but for what takes rights away; requests are served as before."}
	}
	slots := c.slots
	if !p.Waits {
		// Writes that wait for a node that is gone must not keep months from being granted.
		slots = c.inner
	}
	select {
	case slots <- struct{}{}:
	default:
		return Receipt{}, Refuse(ErrBusy, nil)
	}
	defer func() { <-slots }()
	free, err := c.admitLarge(ctx, p)
	if err != nil {
		return Receipt{}, err
	}
	defer free()
	res, term, err := c.apply(ctx, p.Raw)
	if err != nil {
		return Receipt{}, err
	}
	out := Receipt{Result: res, Revocation: Revocation{Index: res.Index, Effective: true}}
	if p.Waits && res.Refusal == nil {
		out.Revocation.Effective, out.Revocation.Nodes, err = c.coordinator.Settle(ctx, res.Index, term, p.Takes)
	} else {
		out.Revocation.Nodes = []Ack{c.ack()}
	}
	took := time.Since(began)
	out.Revocation.TookMS = took.Milliseconds()
	if err == nil && p.Takes {
		c.coordinator.Answered(took, out.Revocation.Nodes)
	}
	return out, err
}

// stamp makes an entry of a command: with this leader's clocks, once every node of the
// cluster reads such entries. A cluster that is not complete waits: a node of an older
// version may still join.
func (c *committer) stamp(raw []byte) []byte {
	s := c.engine.state
	if s.ClusterTime().IsZero() && (s.ClusterLevel() < store.LevelOfStamp || !c.coordinator.Complete()) {
		return raw
	}
	wall, mono := c.clock()
	return store.Stamp{Wall: wall.UnixNano(), Mono: mono}.Put(raw)
}

// maxSkew is how far the time of a forwarded command may be from the leader's wall
// clock: clocks that differ by less than a wrong one's, and the way of the command.
const maxSkew = WrongClock + ProposeTimeout

// timely refuses a command of a node that has another time than this one. A node of
// this version refuses it by itself, if its clock is the wrong one.
func (c *committer) timely(cmd *store.Command) error {
	wall, _ := c.clock()
	if d := cmd.At.Sub(wall); d.Abs() > maxSkew {
		return &Error{Reason: ErrUnavailable, RetryAfter: RetryAfter, Message: fmt.Sprintf(
			"The clock of this node and the leader's differ by %v; set both by NTP, then repeat the change.", d.Abs().Round(time.Second))}
	}
	return nil
}

// ack is this node's: it answers only for entries that it has applied.
func (c *committer) ack() Ack { return Ack{Name: c.name, How: "applied"} }

// apply hands raw to Raft and waits for the answer of this node's state. Unless
// Raft certainly did not take it (ErrNotTaken), every doubt is an unknown outcome.
func (c *committer) apply(ctx context.Context, raw []byte) (res store.Result, term uint64, err error) {
	type outcome struct {
		answer
		index uint64
		err   error
	}
	mark := c.confirm.mark()
	entry := c.stamp(raw)
	done := make(chan outcome, 1)
	go func() {
		// A future may never be answered, when Raft stops. Its goroutine then ends
		// with the process; its proposal has given back its slot by then.
		f, err := c.appender.queue(entry)
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
	case <-c.stopped:
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
	c.confirm.served(mark, o.term)
	c.coordinator.Committed(o.index, o.term)
	return res, o.term, nil
}

// notTaken tells the errors after which Raft certainly holds nothing of the
// proposal.
func notTaken(err error) bool {
	return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrEnqueueTimeout) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress)
}
