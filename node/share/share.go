package share

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// Config configures [New]. All fields but Owners and Saved are required.
type Config struct {
	Boot uint64 // of this process
	Pool *pool.Pool
	Self string // this node
	// Exchange sends a batch to a node and returns its answer.
	Exchange func(ctx context.Context, node string, body []byte) ([]byte, error)
	// Leased reports whether this node holds a serving lease.
	Leased func() bool
	// Rosters is the state's, and Applied the index of the log that it includes. Active
	// says that every node can share limits, so that there will be a roster.
	Rosters func() []roster.Roster
	Applied func() uint64
	Active  func() bool
	// Owners says that every node understands whose a bucket is; nil: no.
	Owners func() bool
	Now    func() int64
	Logger *slog.Logger
	Saved  Saved // optional
}

// Sharing is this node's part in the limits of the cluster.
type Sharing struct {
	conf    Config
	ctx     context.Context
	cancel  context.CancelFunc
	ids     atomic.Uint64
	senders sync.WaitGroup
	metrics *metrics

	following sync.Mutex    // serializes Follow
	kept      bool          // nothing is followed any more; following guards it
	ready     chan struct{} // closed with the first roster
	once      sync.Once
	met       atomic.Bool // see Pool

	mu      sync.Mutex // guards the fields below
	peers   map[string]*peer
	nodes   map[share.Peer]*peer
	numbers share.Peer
	news    chan struct{} // closed when a node has answered or failed for the first time, and replaced
}

// New begins to share with the rosters that the state has; boot is the newest index of
// the log when this process began.
func New(c Config, boot uint64) *Sharing {
	s := &Sharing{conf: c, metrics: newMetrics(), ready: make(chan struct{}), peers: map[string]*peer{}, nodes: map[share.Peer]*peer{}, news: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ids.Store(uint64(time.Now().UnixNano())) // of this process they only grow
	if s.resume() {
		return s
	}
	s.begin(boot)
	return s
}

// resume goes on where a clean stop has ended, if there was one.
func (s *Sharing) resume() bool {
	if len(s.conf.Saved.Pool) == 0 {
		return false
	}
	rs := s.conf.Rosters()
	if err := s.conf.Pool.Resume(s.conf.Saved.Pool, rs, s.conf.Saved.Shift, s.conf.Now()); err != nil {
		s.conf.Logger.Warn("the shared limits of the last stop are of no use; buckets begin empty, as after a crash", "reason", err)
		return false
	}
	s.note(rs)
	return true
}

// begin is the start of the process, or one after entries were missed.
func (s *Sharing) begin(boot uint64) {
	rs := s.conf.Rosters()
	s.conf.Pool.Begin(rs, boot, s.conf.Now())
	s.note(rs)
}

func (s *Sharing) note(rs []roster.Roster) {
	if len(rs) > 0 {
		s.see()
		s.once.Do(func() { close(s.ready) })
	}
}

// Follow takes the state's rosters over. The node calls it before it reports an index as
// applied, and now and then.
func (s *Sharing) Follow() {
	s.following.Lock()
	defer s.following.Unlock()
	applied := s.conf.Applied()
	rs := s.conf.Rosters()
	if s.kept || s.conf.Pool.Line().Same(rs) {
		return
	}
	if s.conf.Pool.Follow(rs, s.conf.Leased(), s.conf.Now()) {
		s.note(rs)
		return
	}
	s.conf.Logger.Warn("changes of the nodes that share limits were missed; buckets begin empty, as after a start")
	s.begin(applied)
}

// Pool is the pool that counts the minutes; nil where nodes count alone, because not
// every one can share. It waits until there is a roster, and until each node of it has
// answered this process once or could not be reached: a node that has just started may have
// nothing of its own. False means that there is no roster in time, or that ctx ended.
func (s *Sharing) Pool(ctx context.Context) (*pool.Pool, bool) {
	if s.conf.Pool.On() && s.met.Load() {
		return s.conf.Pool, true
	}
	if !s.conf.Pool.On() && !s.conf.Active() {
		return nil, true
	}
	timer := time.NewTimer(readyMost)
	defer timer.Stop()
	for wait := (<-chan struct{})(s.ready); ; {
		if s.conf.Pool.On() {
			if wait = s.acquaint(); wait == nil {
				return s.conf.Pool, true
			}
		}
		select {
		case <-wait:
			if !s.conf.Pool.On() {
				wait = nil // there was a roster, before the state was replaced
			}
			continue
		case <-timer.C:
			if s.conf.Pool.On() {
				return s.conf.Pool, true
			}
		case <-ctx.Done():
		}
		return nil, false
	}
}

// readyMost bounds a request's wait for the first roster, and for the other nodes' first
// answers: longer than a cluster is without a leader.
const readyMost = 5 * time.Second

func (s *Sharing) next() uint64 { return s.ids.Add(1) }

// Fetch asks other nodes for the units that a request lacks, and waits for news until
// the time deadline, on the clock of Now. It returns the number of questions to other nodes.
// False: there is no use in trying again.
func (s *Sharing) Fetch(ctx context.Context, short []*pool.Bucket, units, deadline int64) (asked int, more bool) {
	var news <-chan struct{}
	at := deadline
	for _, b := range short {
		questions, again, wait := s.ask(b, units, deadline)
		asked += questions
		if again == 0 {
			s.refuse(b)
			return asked, false
		}
		at, news = min(at, again), wait
	}
	now := s.conf.Now()
	if now >= deadline {
		s.metrics.refusals.WithLabelValues(late).Inc()
		return asked, false
	}
	if at > now {
		defer func() { s.metrics.waits.Observe(time.Duration(s.conf.Now() - now).Seconds()) }()
	}
	timer := time.NewTimer(time.Duration(max(at-now, 0)))
	defer timer.Stop()
	select {
	case <-news:
	case <-timer.C:
	case <-ctx.Done():
		return asked, false
	}
	return asked, true
}

// refuse counts a refusal that no other node can change.
func (s *Sharing) refuse(b *pool.Bucket) {
	cause := spent
	b.In.Lock()
	if len(b.Peers().Up) == 0 {
		cause = lonely
	}
	b.In.Unlock()
	s.metrics.refusals.WithLabelValues(cause).Inc()
}

// ask sends the questions about one bucket. It returns their number, when to look at the bucket again,
// at the latest, and a channel that is closed before if there is news; 0: never.
func (s *Sharing) ask(b *pool.Bucket, units, deadline int64) (asked int, again int64, news <-chan struct{}) {
	now := s.conf.Now()
	b.In.Lock()
	var out []share.Sent
	again = deadline
	if !b.Has(units) && !b.Asking() {
		ps := b.Peers()
		if out = b.Ask(units, ps, s.next, rand.Uint64(), now); len(out) == 0 {
			if again = b.Again(units, ps, now); again > min(deadline, now+int64(refillMost)) {
				if again = 0; b.Slowly() {
					again = deadline
				}
			}
		}
	}
	if b.Has(units) {
		again = now
	}
	news = b.Listen()
	items := fetches(b, out)
	share.Rest(&b.Bucket, now)
	b.In.Unlock()
	s.postAll(out, items)
	return len(out), again, news
}

func fetches(b *pool.Bucket, out []share.Sent) []item {
	items := make([]item, len(out))
	for i, m := range out {
		items[i] = item{kind: isFetch, name: b.Name, terms: b.Terms(), fetch: m.Fetch}
	}
	return items
}

func (s *Sharing) postAll(out []share.Sent, items []item) {
	for i, m := range out {
		if !s.post(m.To, items[i]) {
			s.giveUp(m.To, items[i:i+1], true)
		}
	}
}

// Ahead asks other nodes for tokens that will be needed soon. It does not wait.
func (s *Sharing) Ahead(low []*pool.Bucket) {
	for _, b := range low {
		b.In.Lock()
		now := s.conf.Now()
		out := b.AskAhead(b.Peers(), s.next, now)
		items := fetches(b, out)
		share.Rest(&b.Bucket, now)
		b.In.Unlock()
		s.postAll(out, items)
	}
}

// Run renews, returns and greets until ctx ends.
func (s *Sharing) Run(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	greet := time.NewTicker(greetEvery)
	defer greet.Stop()
	defer s.senders.Wait()
	defer s.end()
	for turn := 0; ; {
		s.Follow()
		s.see()
		select {
		case <-ctx.Done():
			return
		case <-greet.C:
			s.greet(s.ctx)
		case <-tick.C:
			if turn++; s.conf.Leased() {
				s.tick(turn)
			}
		}
	}
}

// end ends what was started; under the lock, so that nothing is started at the same time.
func (s *Sharing) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
}

// tick renews and returns the parts of some buckets, and collects what to tell others.
func (s *Sharing) tick(turn int) {
	var hints []item
	var to []share.Peer
	var notes []item // sent when no shard is locked any more, as sending takes Sharing's lock
	s.conf.Pool.Some(turn, turns, func(shard *pool.Shard) {
		now := s.conf.Now()
		shard.Tick(now, func(b *pool.Bucket) {
			if len(hints) < maxHints {
				if state, due := b.Told.Tell(&b.Bucket, now); due {
					hints = append(hints, item{kind: isHint, name: b.Name, terms: b.Terms(), hint: state})
				}
			}
			for _, n := range b.Tick(s.next, now) {
				m := item{kind: isRenew, name: b.Name, terms: b.Terms()}
				if n.Renew != nil {
					m.renew = *n.Renew
				} else {
					m.kind, m.back = isReturn, *n.Return
				}
				to, notes = append(to, n.To), append(notes, m)
			}
		})
	})
	for i, m := range notes {
		if !s.post(to[i], m) {
			s.giveUp(to[i], notes[i:i+1], true)
		}
	}
	if len(hints) > 0 {
		s.tell(hints)
	}
}
