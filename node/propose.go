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
	maxOutstanding = 1024            // proposals under way; more are refused
	maxCommand     = 16 << 20        // bytes of one command
	leaderWait     = 2 * time.Second // for a leader to be there
	retryAfter     = 1               // seconds, told to who is refused
)

// outcome is what became of one proposal.
type outcome struct {
	response any
	err      error
}

// Propose implements [httpapi.Backend].
func (r *Replica) Propose(ctx context.Context, cmd *store.Command) (httpapi.Receipt, error) {
	began := time.Now()
	if err := r.fails(); err != nil {
		return httpapi.Receipt{}, refuse(fault.Unavailable, err)
	}
	if r.space.Full() && cmd.Grant == nil {
		// Grants stay possible: they are small, few, and without them the node
		// would stop proxying.
		return httpapi.Receipt{}, &fault.Error{Code: fault.Unavailable, RetryAfter: retryAfter,
			Message: "The disk is full, so nothing can be changed until there is space; requests are served as before."}
	}
	raw := cmd.Encode()
	if len(raw) > maxCommand {
		return httpapi.Receipt{}, fault.Newf(fault.BodyTooLarge, "The change takes %d bytes; at most %d can be made at once.", len(raw), maxCommand)
	}
	out, err := r.apply(ctx, raw)
	if err != nil {
		return httpapi.Receipt{}, err
	}
	res, ok := out.(store.Result)
	if !ok {
		return httpapi.Receipt{}, refuse(fault.UnknownOutcome, fmt.Errorf("apply answered %T: %v", out, out))
	}
	return httpapi.Receipt{Result: res, Revocation: httpapi.Revocation{
		// A lone node has applied the command when it answers, and there is no
		// other that could still hold the old state.
		Index: res.Index, Effective: true, TookMS: time.Since(began).Milliseconds(),
		Nodes: []httpapi.RevocationAck{{Name: r.cfg.Name, How: "applied"}},
	}}, nil
}

// apply hands raw to Raft and waits for the answer of this node's state. What
// Raft certainly did not take is offered again while there is time to find a
// leader; beyond that every doubt is an unknown outcome.
func (r *Replica) apply(ctx context.Context, raw []byte) (any, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		return nil, refuse(fault.TooBusy, nil)
	}
	began := time.Now()
	for {
		if err := r.leads.wait(ctx, leaderWait-time.Since(began)); err != nil {
			<-r.slots
			return nil, refuse(fault.NoLeader, err)
		}
		done := make(chan outcome, 1)
		go func() {
			// A future may never be answered, when Raft stops. Its goroutine then ends
			// with the process; it has given back its slot by then.
			f := r.engine.raft.Apply(raw, leaderWait)
			if err := f.Error(); err != nil {
				done <- outcome{err: err}
				return
			}
			done <- outcome{response: f.Response()}
		}()
		timer := time.NewTimer(httpapi.ProposeTimeout)
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
		timer.Stop()
		if o.err != nil && notTaken(o.err) && time.Since(began) < leaderWait {
			continue
		}
		<-r.slots
		switch {
		case o.err == nil:
			return o.response, nil
		case notTaken(o.err):
			return nil, refuse(fault.NoLeader, o.err)
		}
		return nil, refuse(fault.UnknownOutcome, o.err)
	}
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
	if err := r.leads.wait(ctx, leaderWait); err != nil {
		return refuse(fault.NoLeader, err)
	}
	return nil
}
