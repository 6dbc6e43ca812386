package node

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
)

// The bounds of renewals and reports.
const (
	renewTimeout = 1100 * time.Millisecond // a little beyond lease.GrantWithin
	renewalsMax  = 3                       // under way at a time; the leader takes lease.MaxPending
	renewAgain   = 30 * time.Millisecond   // after one that met no leader
	reportLinger = 3 * time.Millisecond    // before what is applied is told by a call
	reportWait   = 100 * time.Millisecond  // before a report that failed is repeated
	maxCallBody  = 64 << 10                // of the small calls
	skewWarned   = 500 * time.Millisecond  // between this wall clock and the leader's
	skewUnready  = 5 * time.Second
)

// facts are what a node tells of itself with each renewal.
type facts struct {
	ID      string    `json:"id"`
	Boot    uint64    `json:"boot"`
	Term    uint64    `json:"term"` // that it was sent in; one of another term is none of this leader's
	Applied uint64    `json:"applied"`
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Region  string    `json:"region,omitzero"`
	Version string    `json:"version,omitzero"`
	Level   int       `json:"level"`
	Stale   bool      `json:"stale,omitzero"`  // it is configured to serve on without a lease
	Served  bool      `json:"served,omitzero"` // it has held one
	State   string    `json:"state"`
	Lease   int64     `json:"lease"`         // D as it is configured here, in nanoseconds
	Full    bool      `json:"full,omitzero"` // its disk is
	Wall    time.Time `json:"wall"`

	seen int64 // when the leader heard it, by its clock
}

// renewed is the answer to a renewal that was granted.
type renewed struct {
	Wall time.Time `json:"wall"` // the leader's
	// Stale says that every later leader knows, too, that the node serves on without
	// a lease.
	Stale bool `json:"stale,omitzero"`
}

// told is what the leader has been told in its term.
type told struct {
	mu    sync.Mutex
	nodes map[string]*facts
}

func (t *told) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.nodes)
}

func (t *told) put(f *facts, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.seen = now
	if len(t.nodes) < lease.MaxNodes || t.nodes[f.ID] != nil {
		t.nodes[f.ID] = f
	}
}

func (t *told) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.nodes, id)
}

func (t *told) of(id string) (facts, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.nodes[id]; f != nil {
		return *f, true
	}
	return facts{}, false
}

// full reports whether so many voters have no space that a change would wait for
// it, and everything behind the change with it.
func (c *cluster) full() bool {
	voters, room := 0, 0
	for _, s := range c.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		f, heard := c.told.of(string(s.ID))
		if !heard || !f.Full {
			room++ // one that is not heard of is no reason to refuse
		}
	}
	return room <= voters/2
}

// renewals keeps this node's lease alive until ctx ends.
func (c *cluster) renewals(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	places := make(chan struct{}, renewalsMax)
	tick := time.NewTicker(leaseEvery(c.Lease))
	defer tick.Stop()
	for {
		select {
		case places <- struct{}{}:
			under.Go(func() {
				defer func() { <-places }()
				c.renew(ctx)
			})
		default: // as many as may be are waiting for an answer
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.kick:
		}
	}
}

// renew asks the leader for the lease once more. What the lease counts from is
// read before anything is sent.
func (c *cluster) renew(ctx context.Context) {
	id, addr, ok := c.leader()
	if !ok || c.watch.left.Load() {
		return
	}
	c.Clock.Sync()
	wall, sent := c.Clock.Read()
	f := c.facts(wall)
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	var got renewed
	var err error
	if string(id) == c.self.ID {
		got, err = c.grant(ctx, f)
	} else {
		got, err = call[renewed](ctx, c.Mesh, addr, string(id), callRenew, encode(f))
	}
	c.metrics.renewals.WithLabelValues(map[bool]string{true: "granted", false: "refused"}[err == nil]).Inc()
	if err != nil {
		if f := fault.From(err); f.Code == fault.Forbidden {
			c.clashes.say("lease", "the leader gives this node no serving lease", "because", f.Sentence())
		}
		if errors.Is(err, errNotTaken) && ctx.Err() == nil {
			time.AfterFunc(renewAgain, c.poke) // the leader is not one yet, or not any more
		}
		c.log.Debug("lease not renewed", "leader", c.nameOf(string(id)), "error", err)
		return
	}
	c.clashes.over("lease")
	if c.watch.left.Load() {
		return // it has told the leader that it serves no more
	}
	c.lease.Granted(sent, wall.UnixNano()-sent, c.Lease)
	if f.Stale && f.Served && got.Stale {
		c.stale.Store(true)
	}
	if !c.once.Swap(true) {
		c.log.Info("this node serves", "leader", c.nameOf(string(id)))
	}
	c.compare(got.Wall, wall)
}

// compare looks how far this wall clock is from the leader's: expiry is judged
// by each node's own.
func (c *cluster) compare(leader, sent time.Time) {
	skew := leader.Sub(sent)
	if took := time.Since(sent); skew > 0 {
		skew = max(0, skew-took) // it was read some time after sent
	}
	c.watch.skew.Store(int64(skew))
	if skew.Abs() > skewWarned {
		c.clashes.say("skew", "this machine's clock differs from the leader's; set both by NTP", "by", skew.Round(time.Millisecond))
	} else {
		c.clashes.over("skew")
	}
}

// currentTerm is Raft's, 0 before it runs.
func (c *cluster) currentTerm() uint64 {
	if rf := c.r.engine.running.Load(); rf != nil {
		return rf.CurrentTerm()
	}
	return 0
}

// facts is what this node tells of itself.
func (c *cluster) facts(wall time.Time) *facts {
	return &facts{
		ID: c.self.ID, Boot: c.self.Boot, Term: c.currentTerm(), Applied: c.r.Store().Applied(), Name: c.r.cfg.Name, Address: c.Mesh.Advertise(),
		Region: c.r.cfg.Region, Version: c.r.cfg.Version, Level: store.Level, State: c.state(),
		Lease: int64(c.Lease), Stale: c.Stale, Served: c.once.Load(), Full: c.r.space.Full(), Wall: wall,
	}
}

// grant is the leader's part of a renewal.
func (c *cluster) grant(ctx context.Context, f *facts) (renewed, error) {
	if !c.r.leads.isOpen() || f.Term != c.term.Load() {
		return renewed{}, errNotTaken
	}
	if c.r.Store().Removed(f.ID) {
		return renewed{}, fault.Newf(fault.Forbidden, "The node was removed from the cluster.")
	}
	if f.Lease != int64(c.Lease) {
		// It would serve beyond what writes wait for.
		return renewed{}, fault.Newf(fault.Forbidden, "cluster.lease is %v here and %v on the leader; give all nodes the same.", time.Duration(f.Lease), c.Lease)
	}
	c.Clock.Sync()
	now := c.Clock.Now()
	// A node that has not served yet has nothing to serve on with.
	ticket, err := c.table.Renew(lease.Node{ID: f.ID, Boot: f.Boot}, f.Applied, f.Stale && f.Served, now)
	if !errors.Is(err, lease.ErrOldBoot) {
		c.told.put(f, now)
	}
	if err != nil {
		return renewed{}, refuse(fault.Unavailable, err)
	}
	// A lease that is not granted must not make writes wait for it.
	granted := false
	defer func() {
		if !granted {
			c.table.Drop(ticket)
		}
	}()
	term, err := c.confirm.Confirm(ctx)
	if err != nil {
		return renewed{}, refuse(fault.Unavailable, err)
	}
	select {
	case <-c.table.Ready(ticket):
	case <-ctx.Done():
		return renewed{}, refuse(fault.Unavailable, ctx.Err())
	}
	if granted = c.table.Grant(ticket, term, c.Clock.Now()); !granted {
		return renewed{}, refuse(fault.Unavailable, errors.New("the renewal came too late"))
	}
	m, ok := c.r.Store().Member(f.ID)
	return renewed{Wall: time.Now(), Stale: ok && m.Stale}, nil
}

func (c *cluster) serveRenew(w http.ResponseWriter, r *http.Request) {
	var f facts
	if !c.small(w, r, &f) {
		return
	}
	if f.ID != mesh.PeerID(r.Context()) {
		http.Error(w, "a node renews its own lease only", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), renewTimeout)
	defer cancel()
	got, err := c.grant(ctx, &f)
	respond(w, got, err)
}

// report is what a node has applied.
type report struct {
	Boot    uint64 `json:"boot"`
	Term    uint64 `json:"term"`
	Applied uint64 `json:"applied"`
	// Left says that this boot serves no more: it stops.
	Left bool `json:"left,omitzero"`
}

// reports tells the leader what this node has applied, as soon as it has and
// many at once, until ctx ends. Every write waits for these.
func (c *cluster) reports(ctx context.Context) {
	var sent uint64
	for {
		next := c.r.applied.after()
		if now := c.r.Store().Applied(); now != sent {
			// The answer to a notice tells it sooner, and for less.
			timer := time.NewTimer(reportLinger)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			if now = c.r.Store().Applied(); c.reported.Load() >= now {
				sent = now
				continue
			}
			if c.report(ctx, report{Boot: c.self.Boot, Term: c.currentTerm(), Applied: now}) == nil {
				sent = now
				continue
			}
			timer.Reset(reportWait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
	}
}

func (c *cluster) report(ctx context.Context, rep report) error {
	id, addr, ok := c.leader()
	if !ok {
		return errNotTaken
	}
	if string(id) == c.self.ID {
		return c.heard(c.self.ID, rep)
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	_, err := call[bool](ctx, c.Mesh, addr, string(id), callReport, encode(&rep))
	return err
}

// heard notes a report. A process that has left can never serve again, as if its
// successor had come already.
func (c *cluster) heard(id string, rep report) error {
	if rep.Term != c.term.Load() {
		return errNotTaken
	}
	n := lease.Node{ID: id, Boot: rep.Boot}
	if rep.Left {
		n.Boot++
		rep.Applied = 0
	}
	c.table.Report(n, rep.Applied, c.Clock.Now())
	return nil
}

func (c *cluster) serveReport(w http.ResponseWriter, r *http.Request) {
	var rep report
	if !c.small(w, r, &rep) {
		return
	}
	err := c.heard(mesh.PeerID(r.Context()), rep)
	respond(w, err == nil, err)
}

// leave gives the lease back, behind the last request: a write then need not wait
// for it to end.
func (c *cluster) leave(ctx context.Context) {
	c.watch.left.Store(true)
	c.lease.Revoke()
	if err := c.report(ctx, report{Boot: c.self.Boot, Term: c.currentTerm(), Left: true}); err != nil {
		c.log.Debug("lease not given back; it ends by itself", "error", err)
	}
}

// small reads the JSON of a small call.
func (c *cluster) small(w http.ResponseWriter, r *http.Request, v any) bool {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallBody))
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}
