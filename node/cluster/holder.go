package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// holder keeps this node's lease, without which it does not serve. Serving and
// Alone are called for each request and read atomics only.
type holder struct {
	*node
	founding   *founding
	clocks     *clocks
	peers      *peers
	leadership *leadership   // asked directly while this node leads
	reader     *noticeReader // its answers to notices spare reports
	kick       chan struct{} // holds a token when a renewal is due at once

	lease lease.Lease  // written by renew, read by Serving; atomic by itself
	once  atomic.Bool  // a lease has been granted to this process
	stale atomic.Bool  // and one after the leader knew that this node serves on without a lease
	apart atomic.Bool  // its state is not its cluster's; see diverged
	left  atomic.Bool  // the node stops, and asks for no lease any more
	skew  atomic.Int64 // the leader's wall clock minus this node's, in nanoseconds

	changed atomic.Int64 // when the leader changed last, by this node's clock; set by meetLeaders
}

// serving reports whether this node may admit requests. It is asked twice for each
// of them, takes no lock and makes no system call.
func (h *holder) serving() bool {
	if h.removed.Load() || h.apart.Load() {
		return false
	}
	wall, now := h.Clock.Read()
	if h.lease.Valid(now, h.Clock.Jump(wall, now)) {
		return true
	}
	return h.stale.Load()
}

// alone reports whether this node serves on without a lease.
func (h *holder) alone() bool {
	if !h.stale.Load() || h.removed.Load() || h.apart.Load() {
		return false
	}
	wall, now := h.Clock.Read()
	return !h.lease.Valid(now, h.Clock.Jump(wall, now))
}

// poke makes the next renewal due at once.
func (h *holder) poke() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// state is this node's own word of itself.
func (h *holder) state() string {
	switch {
	case h.Draining():
		return replica.StateDraining
	case !h.serving():
		return replica.StateStarting
	}
	return replica.StateReady
}

// ready is why this node should not get traffic.
func (h *holder) ready() error {
	switch {
	case h.removed.Load():
		return mesh.ErrRemoved
	case h.apart.Load():
		return errors.New("the node's state is not its cluster's; its log says what to do")
	case !h.serving():
		return errors.New("the node holds no serving lease")
	case h.clockIsWrong():
		return errors.New("the node's clock is wrong")
	}
	return h.founding.ready()
}

// leaseEvery is how often a lease of D is renewed.
func leaseEvery(d time.Duration) time.Duration { return d / 10 }

// renewals keeps this node's lease alive until ctx ends.
func (h *holder) renewals(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	places := make(chan struct{}, renewalsMax)
	tick := time.NewTicker(leaseEvery(h.Lease))
	defer tick.Stop()
	for {
		select {
		case places <- struct{}{}:
			under.Go(func() {
				defer func() { <-places }()
				h.renew(ctx)
			})
		default: // as many as may be are waiting for an answer
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.kick:
		}
	}
}

// renew asks the leader for the lease once more. The moment that the lease
// counts from is read before anything is sent.
func (h *holder) renew(ctx context.Context) {
	id, addr, ok := h.peers.leader()
	if !ok || h.left.Load() || h.apart.Load() {
		return
	}
	h.Clock.Sync()
	wall, sent := h.Clock.Read()
	f := h.selfReport(wall)
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	var got renewed
	var err error
	if string(id) == h.self.ID {
		got, err = h.leadership.grant(ctx, f)
	} else {
		got, err = call[renewed](ctx, h.mesh, addr, string(id), callRenew, encode(f))
	}
	h.leadership.metrics.renewals.WithLabelValues(map[bool]string{true: "granted", false: "refused"}[err == nil]).Inc()
	if err != nil {
		var refusal *replica.Error
		if errors.As(err, &refusal) && errors.Is(refusal.Reason, replica.ErrDiverged) {
			h.diverged(refusal.Message)
			return
		}
		contested := refusal != nil && errors.Is(refusal.Reason, replica.ErrContested)
		if contested {
			h.stale.Store(false) // nor does it serve on with a state that may be wrong
		}
		if contested || refusal != nil && errors.Is(refusal.Reason, replica.ErrForbidden) {
			h.troubles.say("lease", "the leader gives this node no serving lease", "reason", refusal.Message)
		}
		if errors.Is(err, replica.ErrNotTaken) && ctx.Err() == nil {
			time.AfterFunc(renewAgain, h.poke) // the leader is not one yet, or not any more
		}
		h.log.Debug("lease not renewed", "leader", h.nameOf(string(id)), "error", err)
		return
	}
	h.troubles.over("lease")
	if h.left.Load() {
		return // it has told the leader that it serves no more
	}
	h.lease.Granted(sent, h.Clock.Jump(wall, sent), h.Lease)
	if f.Stale && f.Served && got.Stale {
		h.stale.Store(true)
	}
	if !h.once.Swap(true) {
		h.log.Info("this node serves", "leader", h.nameOf(string(id)))
	}
	h.clocks.learn(&got, sent)
	h.compare(got.Wall, wall, time.Duration(h.Clock.Now()-sent))
}

// clockIsWrong compares with the median of the nodes, or with a leader that does not
// know it.
func (h *holder) clockIsWrong() bool {
	if h.clocks.truth.Load() == nil {
		return time.Duration(h.skew.Load()).Abs() > replica.WrongClock
	}
	return h.clocks.fault() != nil
}

// compare looks how far this wall clock is from the leader's: expiry is judged
// by each node's own. The answer took that long.
func (h *holder) compare(leader, sent time.Time, took time.Duration) {
	skew := leader.Sub(sent)
	if skew > 0 {
		skew = max(0, skew-took) // it was read some time after sent
	}
	h.skew.Store(int64(skew))
	if skew.Abs() > skewWarned {
		h.troubles.say("skew", "this machine's clock differs from the leader's; set both by NTP", "by", skew.Round(100*time.Millisecond)) // coarse, for each text is a line
	} else {
		h.troubles.over("skew")
	}
}

// selfReport is the report of this node about itself.
func (h *holder) selfReport(wall time.Time) *selfReport {
	return &selfReport{
		ID: h.self.ID, Boot: h.self.Boot, Term: h.currentTerm(), Applied: h.applied(), Name: h.Name, Address: h.mesh.Advertise(),
		Region: h.Region, Version: h.Version, Level: store.Level, State: h.state(),
		Lease: int64(h.Lease), Stale: h.Stale, Served: h.once.Load(), Full: h.r.Disk().Full(), Rotten: replica.RottenState(h.r) != nil, Wall: wall, Print: printOf(h.r.Store()),
	}
}

// meetLeaders makes this node ask each new leader for a lease at once, and logs each
// change of leader, until ctx ends.
func (h *holder) meetLeaders(ctx context.Context) {
	news := make(chan raft.Observation, 64) // more changes than that have to wait for none
	o := raft.NewObserver(news, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	h.r.Raft().RegisterObserver(o)
	defer h.r.Raft().DeregisterObserver(o)
	_, id := h.r.Raft().LeaderWithID()
	for last := h.met("", string(id)); ; {
		select {
		case <-ctx.Done():
			return
		case n := <-news:
			last = h.met(last, string(n.Data.(raft.LeaderObservation).LeaderID))
		}
	}
}

// met takes a change of leader over and returns the new one; last is the one before.
func (h *holder) met(last, id string) string {
	if id == last {
		return id
	}
	h.changed.Store(h.Clock.Now())
	if id == "" {
		h.log.Info("the cluster has no leader", "term", h.currentTerm())
		return id
	}
	h.log.Info("the cluster has a new leader", "node", h.nameOf(id), "term", h.currentTerm())
	h.poke()
	return id
}

// leave gives the lease back, after the last request: a write then need not wait
// for it to end.
func (h *holder) leave(ctx context.Context) {
	h.left.Store(true)
	h.lease.End() // also for renewals under way: the leader is told next
	if err := h.report(ctx, report{Boot: h.self.Boot, Term: h.currentTerm(), Left: true}); err != nil {
		h.log.Debug("lease not given back; it ends by itself", "error", err)
	}
}
