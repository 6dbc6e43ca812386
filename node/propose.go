package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// Bounds of what waits.
const (
	maxOutstanding = 1024            // writes under way at the leader; more are refused
	maxInner       = 256             // the same of what nodes write for themselves, which waits for no other node
	maxCommand     = 16 << 20        // bytes of one command
	leaderWait     = 2 * time.Second // for a leader to be there
	leaderPoll     = 10 * time.Millisecond
	retryAfter     = 1 // seconds, told to who is refused
)

// proposal is a command on its way to the leader.
type proposal struct {
	raw   []byte
	takes bool // see [store.Command.Takes]
	waits bool // see [store.Command.Waits]
	grant bool // taken even when the disk is full
}

// errNotTaken says of a proposal that nobody holds anything of it: it may be
// offered again, to the same leader or to another one.
var errNotTaken = errors.New("there is no leader, or it is changing")

// Propose implements [httpapi.Backend].
func (r *Replica) Propose(ctx context.Context, cmd *store.Command) (httpapi.Receipt, error) {
	if err := r.fails(); err != nil {
		return httpapi.Receipt{}, refuse(fault.Unavailable, err)
	}
	if level := r.Store().ClusterLevel(); cmd.Level() > level {
		return httpapi.Receipt{}, &fault.Error{Code: fault.Unavailable, RetryAfter: retryAfter, Message: fmt.Sprintf(
			"Not all nodes of the cluster know this change (it needs level %d, the cluster is at %d); upgrade them first.", cmd.Level(), level)}
	}
	p := &proposal{raw: cmd.Encode(), takes: cmd.Takes(), waits: cmd.Waits(), grant: cmd.Grant != nil}
	if len(p.raw) > maxCommand {
		return httpapi.Receipt{}, fault.Newf(fault.BodyTooLarge, "The change takes %d bytes; at most %d can be made at once.", len(p.raw), maxCommand)
	}
	var out httpapi.Receipt
	err := r.withLeader(ctx, func() (err error) {
		if r.leads.isOpen() {
			out, err = r.commit(ctx, p)
		} else {
			out, err = r.forward(ctx, p)
		}
		return err
	})
	return out, err
}

// withLeader calls do until it reports another error than errNotTaken, at most
// for as long as a leader may take to be found.
func (r *Replica) withLeader(ctx context.Context, do func() error) error {
	began := time.Now()
	for {
		err := do()
		if !errors.Is(err, errNotTaken) {
			return err
		}
		left := leaderWait - time.Since(began)
		if left <= 0 {
			return refuse(fault.NoLeader, err)
		}
		if r.cluster != nil {
			left = min(left, leaderPoll) // somebody else may lead by then
		}
		if err := r.leads.wait(ctx, left); err != nil && ctx.Err() != nil {
			return refuse(fault.NoLeader, err)
		}
		if err := r.fails(); err != nil {
			return refuse(fault.Unavailable, err)
		}
	}
}

// commit is the leader's part: the entry, and the wait until every serving node
// has applied it.
func (r *Replica) commit(ctx context.Context, p *proposal) (httpapi.Receipt, error) {
	began := time.Now()
	if !p.grant && (r.space.Full() || r.cluster != nil && r.cluster.full()) {
		// Grants stay possible: they are small, few, and without them the node
		// would stop proxying.
		return httpapi.Receipt{}, &fault.Error{Code: fault.Unavailable, RetryAfter: retryAfter,
			Message: "The disk is full, so nothing can be changed until there is space; requests are served as before."}
	}
	slots := r.slots
	if !p.waits {
		// Writes that wait for a node that is gone must not keep months from being granted.
		slots = r.inner
	}
	select {
	case slots <- struct{}{}:
	default:
		return httpapi.Receipt{}, refuse(fault.TooBusy, nil)
	}
	defer func() { <-slots }()
	res, term, err := r.apply(ctx, p.raw)
	if err != nil {
		return httpapi.Receipt{}, err
	}
	out := httpapi.Receipt{Result: res, Revocation: httpapi.Revocation{
		Index: res.Index, Effective: true,
		Nodes: []httpapi.RevocationAck{{Name: r.cfg.Name, How: "applied"}},
	}}
	if r.cluster != nil && p.waits && res.Refusal == nil {
		// A lone node has applied the command when it answers, and there is no other
		// that could still hold the old state.
		out.Revocation.Effective, out.Revocation.Nodes, err = r.cluster.settle(ctx, term, res.Index, p.takes)
	}
	took := time.Since(began)
	out.Revocation.TookMS = took.Milliseconds()
	if r.cluster != nil && err == nil && p.takes {
		r.cluster.metrics.revoked(took, out.Revocation.Nodes)
	}
	return out, err
}

// apply hands raw to Raft and waits for the answer of this node's state. Beyond
// what Raft certainly did not take (errNotTaken), every doubt is an unknown outcome.
func (r *Replica) apply(ctx context.Context, raw []byte) (res store.Result, term uint64, err error) {
	type outcome struct {
		answer
		index uint64
		err   error
	}
	var mark uint64
	if r.cluster != nil {
		mark = r.cluster.confirm.mark()
	}
	done := make(chan outcome, 1)
	go func() {
		// A future may never be answered, when Raft stops. Its goroutine then ends
		// with the process; its proposal has given back its slot by then.
		f := r.engine.raft.Apply(raw, leaderWait)
		if err := f.Error(); err != nil {
			done <- outcome{err: err}
			return
		}
		a, _ := f.Response().(answer)
		done <- outcome{answer: a, index: f.Index()}
	}()
	timer := time.NewTimer(httpapi.ProposeTimeout)
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
		return res, 0, errNotTaken
	case o.err != nil:
		return res, 0, refuse(fault.UnknownOutcome, o.err)
	}
	res, ok := o.response.(store.Result)
	if !ok {
		return res, 0, refuse(fault.UnknownOutcome, fmt.Errorf("apply answered %T: %v", o.response, o.response))
	}
	if r.cluster != nil {
		r.cluster.confirm.served(mark, o.term)
		r.cluster.notices.Committed(o.index, o.term)
	}
	return res, o.term, nil
}

// notTaken tells the errors after which Raft certainly holds nothing of the
// proposal.
func notTaken(err error) bool {
	return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrEnqueueTimeout) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress)
}

func refuse(code fault.Code, cause error) *fault.Error {
	return &fault.Error{Code: code, RetryAfter: retryAfter, Cause: cause}
}

// Linearize implements [httpapi.Backend]. A lone node answers a write when it
// has applied it, so once it leads, and with that has applied everything from
// before its start, there is nothing to wait for.
func (r *Replica) Linearize(ctx context.Context) error {
	if r.cluster != nil {
		return r.cluster.linearize(ctx)
	}
	if err := r.leads.wait(ctx, leaderWait); err != nil {
		return refuse(fault.NoLeader, err)
	}
	return nil
}
