package share

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// fleet is nodes whose calls go through memory.
type fleet struct {
	most  pool.Bounds // of each node, if set
	t     *testing.T
	mu    sync.Mutex // guards nodes
	nodes map[string]*station
	ids   []string
	calls atomic.Int64
	bytes atomic.Int64 // of calls and answers
}

type station struct {
	*Sharing
	f       *fleet
	id      string
	pool    *pool.Pool
	cut     atomic.Bool
	delay   atomic.Int64 // of its answers
	leased  atomic.Bool
	active  atomic.Bool
	index   atomic.Uint64
	rosters atomic.Pointer[[]roster.Roster]
	stop    context.CancelFunc
	done    sync.WaitGroup
}

var errCut = errors.New("cut off")

// newFleet starts nodes that share by one roster. Call it inside of a synctest bubble.
func newFleet(t *testing.T, rosters []roster.Roster, ids ...string) *fleet {
	return (&fleet{t: t, nodes: map[string]*station{}, ids: ids}).begin(rosters)
}

func (f *fleet) begin(rosters []roster.Roster) *fleet {
	for _, id := range f.ids {
		f.start(id, 1, rosters)
	}
	time.Sleep(2 * time.Second) // virtual: they greet each other
	return f
}

func (f *fleet) start(id string, boot uint64, rosters []roster.Roster) *station {
	s := &station{f: f, id: id, pool: pool.NewBounded(id, cmp.Or(f.most, pool.DefaultBounds))}
	s.leased.Store(true)
	s.active.Store(true)
	s.index.Store(11)
	s.rosters.Store(&rosters)
	began := time.Now()
	s.Sharing = New(Config{
		Self: id, Boot: boot, Pool: s.pool, Exchange: s.exchange, Leased: s.leased.Load, Active: s.active.Load, Applied: s.index.Load,
		Rosters: func() []roster.Roster { return *s.rosters.Load() },
		Owners:  func() bool { return true },
		Now:     func() int64 { return int64(time.Since(began)) + int64(boot)*1e12 },
		Logger:  slog.New(slog.DiscardHandler),
	}, 10)
	f.mu.Lock()
	f.nodes[id] = s
	f.mu.Unlock()
	ctx, stop := context.WithCancel(f.t.Context())
	s.stop = stop
	s.done.Go(func() { s.Run(ctx) })
	return s
}

func (f *fleet) close() {
	for _, s := range f.nodes {
		s.stop()
	}
	for _, s := range f.nodes {
		s.done.Wait()
	}
}

func (s *station) exchange(ctx context.Context, node string, body []byte) ([]byte, error) {
	s.f.calls.Add(1)
	time.Sleep(200 * time.Microsecond)
	s.f.mu.Lock()
	to := s.f.nodes[node]
	s.f.mu.Unlock()
	if to == nil {
		return nil, errCut
	}
	if s.cut.Load() || to.cut.Load() {
		<-ctx.Done()
		return nil, errCut
	}
	time.Sleep(time.Duration(to.delay.Load()))
	answer, err := to.Serve(s.id, body)
	s.f.bytes.Add(int64(len(body) + len(answer)))
	return answer, err
}

// take is a request of a unit, as admission makes it.
func (s *station) take(n pool.Name, t pool.Terms) bool {
	deadline := s.conf.Now() + int64(waitMost)
	for again := false; ; again = true {
		sh := s.pool.Shard(n)
		sh.Lock()
		b := sh.Open(nil, n, t, s.conf.Now())
		if !again {
			b.Count(1, s.conf.Now())
		}
		ok, low := b.Has(1), false
		if ok {
			b.Spend(1)
			low = b.Low(s.conf.Now())
		}
		sh.Unlock()
		if low {
			s.Ahead([]*pool.Bucket{b})
		}
		if ok {
			return true
		}
		if _, more := s.Fetch(s.ctx, []*pool.Bucket{b}, 1, deadline); !more {
			return false
		}
	}
}

func (s *station) takeAll(n pool.Name, t pool.Terms) (passed int) {
	for s.take(n, t) {
		passed++
	}
	return passed
}

var three = []roster.Roster{{Index: 5, Nodes: []string{"a", "b", "c"}, First: true, Whole: true}}

func minute(limit int64) pool.Terms { return pool.Terms{Pace: share.Minute(limit, limit), Created: 11} }

// One node gets the whole burst from the others, and then what all refill.
func TestOneNodeGetsTheWholeBucket(t *testing.T) {
	for _, limit := range []int64{1, 6, 60, 6000} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, three, "a", "b", "c")
			defer f.close()
			n := pool.Name{1, byte(limit)}
			if got := f.nodes["b"].takeAll(n, minute(limit)); got < int(limit-limit/100) || got > int(limit)+1 {
				t.Errorf("limit %d: %d pass at once", limit, got)
			}
			time.Sleep(30 * time.Second)
			if got := f.nodes["c"].takeAll(n, minute(limit)); got > int(limit/2+1) || got < int(limit/2-limit/20-1) {
				t.Errorf("limit %d: %d pass after half a minute, on another node", limit, got)
			}
		})
	}
}

// All nodes at once admit what one bucket does.
func TestNodesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		n, limit := pool.Name{2}, minute(600)
		var passed atomic.Int64
		var all sync.WaitGroup
		for _, id := range f.ids {
			all.Go(func() {
				for range 6000 {
					if f.nodes[id].take(n, limit) {
						passed.Add(1)
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		all.Wait()
		if got := passed.Load(); got > 600+600+30 || got < 1180 {
			t.Errorf("%d pass in a minute, want about 1200", got)
		}
	})
}

// A node that is cut off has its own part, and its requests do not wait each time.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		n, limit := pool.Name{3}, minute(60)
		a := f.nodes["a"]
		a.cut.Store(true)
		began := time.Now()
		got := a.takeAll(n, limit)
		if took := time.Since(began); got < 20 || got > 21 || took > waitMost+50*time.Millisecond {
			t.Errorf("%d pass in %v", got, took)
		}
		began, calls := time.Now(), f.calls.Load()
		for range 1000 {
			a.take(n, limit)
			time.Sleep(time.Millisecond)
		}
		if took, sent := time.Since(began), f.calls.Load()-calls; took > 3*time.Second || sent > 100 {
			t.Errorf("1000 refusals took %v and %d calls", took, sent)
		}
		a.cut.Store(false)
		time.Sleep(5 * time.Second)
		if got := a.takeAll(n, limit); got < 38 {
			t.Errorf("%d pass after the cut", got)
		}
	})
}

// A node without a lease lends nothing; one that started again is another peer, and
// returns and renewals of before do not reach it.
func TestLeasesAndStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		n, limit := pool.Name{4}, minute(60)
		f.nodes["b"].leased.Store(false)
		if got := f.nodes["a"].takeAll(n, limit); got < 39 || got > 41 {
			t.Errorf("%d pass while b has no lease", got)
		}
		old := f.nodes["b"]
		old.stop()
		old.done.Wait()
		f.start("b", 2, three)
		time.Sleep(2 * time.Second)
		if _, err := f.nodes["a"].Serve("b", (&batch{from: 1, to: 1}).encode()); !errors.Is(err, errEarlier) {
			t.Errorf("a message of the process before: %v", err)
		}
		f.nodes["a"].mu.Lock()
		boot := f.nodes["a"].peers["b"].boot
		f.nodes["a"].mu.Unlock()
		if boot != 2 {
			t.Errorf("a takes b for its process %d", boot)
		}
		time.Sleep(120 * time.Second)
		if got := f.nodes["a"].takeAll(n, limit); got < 59 {
			t.Errorf("%d pass two minutes later", got)
		}
	})
}

// Where minutes are counted: alone while not every node can share, and in the pool once
// there is a roster.
func TestWhereMinutesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, nil, "a")
		defer f.close()
		a := f.nodes["a"]
		a.active.Store(false)
		if p, ok := a.Pool(t.Context()); p != nil || !ok {
			t.Errorf("nodes that cannot share: %v, %v", p, ok)
		}
		a.active.Store(true)
		began := time.Now()
		if p, ok := a.Pool(t.Context()); p != nil || ok || time.Since(began) != readyMost {
			t.Errorf("without a roster: %v, %v after %v", p, ok, time.Since(began))
		}
		time.AfterFunc(time.Second, func() {
			a.index.Store(12)
			a.rosters.Store(&[]roster.Roster{{Index: 12, Nodes: []string{"a"}, First: true, Whole: true}})
		})
		if p, ok := a.Pool(t.Context()); p != a.pool || !ok {
			t.Errorf("with the first roster: %v, %v", p, ok)
		}
		if got := a.takeAll(pool.Name{5}, minute(60)); got != 60 {
			t.Errorf("%d pass", got)
		}
		// Entries that were missed are a start.
		a.index.Store(50)
		a.rosters.Store(&[]roster.Roster{{Index: 40, Nodes: []string{"a"}}})
		time.Sleep(time.Second)
		if got := a.takeAll(pool.Name{6}, minute(60)); got != 0 {
			t.Errorf("%d pass after entries were missed", got)
		}
	})
}

// Nodes that take long to answer are waited for, and refuse nobody; one that does not
// answer at all costs one wait.
func TestSlowNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		f.nodes["b"].delay.Store(int64(100 * time.Millisecond))
		f.nodes["c"].delay.Store(int64(150 * time.Millisecond))
		a, limit := f.nodes["a"], minute(60)
		if got := a.takeAll(pool.Name{6}, limit); got < 59 || got > 61 {
			t.Errorf("%d pass while the others are slow", got)
		}
		// A burst with one slow node: the other one is asked after 12 ms.
		f.nodes["c"].delay.Store(0)
		began, got := time.Now(), 0
		for range 40 {
			if a.take(pool.Name{7}, limit) {
				got++
			}
		}
		if took := time.Since(began); got != 40 || took > 60*time.Millisecond {
			t.Errorf("%d pass with one slow node, in %v", got, took)
		}
		f.nodes["b"].cut.Store(true)
		began, got = time.Now(), 0
		for i := range 10 {
			for a.take(pool.Name{8, byte(i)}, limit) {
				got++
			}
		}
		if took := time.Since(began); got < 390 || took > 2*waitMost+100*time.Millisecond {
			t.Errorf("%d pass with a node cut off, in %v", got, took)
		}
	})
}

// A node without a part of its own has other nodes' tokens from its first request on.
func TestTheFirstRequestOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pending := append(slices.Clone(three), roster.Roster{Index: 9, Nodes: []string{"a", "b", "c", "d"}})
		f := &fleet{t: t, nodes: map[string]*station{}, ids: []string{"a", "b", "c", "d"}}
		for _, id := range f.ids {
			f.start(id, 1, pending)
			f.nodes[id].delay.Store(int64(20 * time.Millisecond))
		}
		defer f.close()
		d := f.nodes["d"]
		p, ok := d.Pool(t.Context())
		if got := d.takeAll(pool.Name{9}, minute(60)); p == nil || !ok || got < 40 || got > 60 {
			t.Errorf("%d pass on the node that joins", got)
		}
	})
}

// marks keeps marks in memory.
type marks map[string][]byte

func (m marks) Mark(name string) ([]byte, error) { return m[name], nil }

func (m marks) SetMark(name string, value []byte, _ bool) error {
	m[name] = value
	return nil
}

// A clean stop hands what the node has to its next process, once, and ends its use here.
func TestKeepAndTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		n, limit, m := pool.Name{10}, minute(60), marks{}
		a := f.nodes["a"]
		for range 5 {
			a.take(n, limit)
		}
		a.stop()
		a.done.Wait()
		if err := a.Keep(m); err != nil || len(m[mark]) == 0 {
			t.Fatalf("keeps %d bytes: %v", len(m[mark]), err)
		}
		if m, ok := a.answer(1, &item{kind: isFetch, name: n, terms: limit, fetch: share.Fetch{ID: 1, Need: 1}}); ok {
			t.Errorf("lends after the stop: %+v", m)
		}
		a.Follow()
		if a.pool.On() {
			t.Error("follows the roster after the stop")
		}
		saved, err := Take(m, a.conf.Now())
		if err != nil || len(m[mark]) != 0 {
			t.Fatalf("takes %v, and leaves %d bytes", err, len(m[mark]))
		}
		next := pool.New("a")
		again := New(Config{
			Self: "a", Boot: 2, Pool: next, Leased: a.leased.Load, Active: a.active.Load, Applied: a.index.Load, Rosters: a.conf.Rosters,
			Exchange: a.exchange, Now: a.conf.Now, Logger: a.conf.Logger, Saved: saved,
		}, 99)
		ended, end := context.WithCancel(t.Context())
		end()
		again.Run(ended)
		s := next.Shard(n)
		s.Lock()
		defer s.Unlock()
		if got := s.Open(nil, n, limit, a.conf.Now()).Left(); got != 15 {
			t.Errorf("the next process has %d units, want 15 of 20", got)
		}
		if second, err := Take(m, 0); err != nil || second.Pool != nil {
			t.Errorf("taken twice: %+v, %v", second, err)
		}
	})
}
