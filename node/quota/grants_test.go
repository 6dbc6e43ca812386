package quota

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// months is a replicated state of one limit for every bucket, and a log that
// takes delay for each command.
type months struct {
	mu       sync.Mutex
	limit    int64
	delay    time.Duration
	fail     error // of the next proposals
	lose     bool  // apply, and answer with an error nevertheless
	granted  map[store.GrantAsk]int64
	commands []*store.Command
	accounts []*store.Account
	cells    map[store.AccountID]*store.Cell
}

func newMonths(limit int64, delay time.Duration) *months {
	l := &months{limit: limit, delay: delay, granted: map[store.GrantAsk]int64{}, cells: map[store.AccountID]*store.Cell{}}
	l.account("default")
	return l
}

func (l *months) account(id store.AccountID) *limiter.Meter {
	c := &store.Cell{}
	c.Meters[store.Test], c.Meters[store.Live] = limiter.NewMeter(), limiter.NewMeter()
	l.accounts = append(l.accounts, &store.Account{ID: id})
	l.cells[id] = c
	return c.Meters[store.Live]
}

func (l *months) meter() *limiter.Meter { return l.cells["default"].Meters[store.Live] }

func (l *months) GrantedOf(ask store.GrantAsk) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.granted[ask], nil
}

func (l *months) Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID) {
	return l.accounts, ""
}

func (l *months) Cell(id store.AccountID) *store.Cell { return l.cells[id] }

func (l *months) propose(ctx context.Context, c *store.Command) (store.Result, error) {
	advance(l.delay)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.apply(c)
}

// apply is called with l.mu held.
func (l *months) apply(c *store.Command) (store.Result, error) {
	l.commands = append(l.commands, c)
	if l.fail != nil && !l.lose {
		return store.Result{}, l.fail
	}
	var r store.Result
	for _, a := range c.Change.(*store.Grant).Asks {
		b := a
		b.Want, b.Give = 0, 0
		n := max(min(a.Want, l.limit-l.granted[b]), 0)
		l.granted[b] += n - a.Give
		r.Granted = append(r.Granted, store.Granted{N: n, Total: l.granted[b]})
	}
	return r, l.fail
}

func now() int64 { return time.Now().UnixNano() }

func untaken(err error) bool { return errors.Is(err, errNoLeader) }

var errNoLeader = errors.New("no leader")

// advance lets d pass on the clock of the synctest bubble, which takes no time.
func advance(d time.Duration) { time.Sleep(d) }

// start runs a driver over l inside a synctest bubble.
func start(t *testing.T, l *months) (*Grants, func()) {
	g := NewGrants(Config{Node: "n1", Ledger: l, Propose: l.propose, Now: now, Untaken: untaken, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	return g, func() { cancel(); <-done }
}

// request decides one request as admission does.
func request(g *Grants, m *limiter.Meter, a *limiter.Ask) limiter.Decision {
	a.Wall = time.Now().UnixNano()
	a.Now = a.Wall
	d := m.Take(a)
	for range 3 {
		if !d.Pending {
			break
		}
		g.Await(context.Background(), "default", record(m, a.Key), d.Wants[:d.NWants])
		d = m.Take(a)
	}
	if !d.Pending && d.NWants > 0 {
		g.Ask("default", record(m, a.Key), d.Wants[:d.NWants])
	}
	return d
}

// record is a live key whose account has the meter m.
func record(m *limiter.Meter, id string) *store.Record {
	cell := new(store.Cell)
	cell.Meters[store.Live] = m
	return &store.Record{ID: store.KeyID(id), Account: cell, Extra: new(store.Extra), Type: store.Live}
}

func monthly(n int64) *limiter.Ask {
	return &limiter.Ask{Units: 1, Account: limiter.Limit{PerMonth: n}, Key: "key_a", AccountFresh: true}
}

func TestGrantsSpendAMonthExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(100, time.Millisecond)
		g, stop := start(t, l)
		defer stop()
		for i := range 100 {
			if d := request(g, l.meter(), monthly(100)); !d.Allowed || d.States[0].Remaining != int64(99-i) {
				t.Fatalf("request %d: %+v", i, d)
			}
			advance(10 * time.Millisecond)
		}
		d := request(g, l.meter(), monthly(100))
		if d.Allowed || d.Pending || d.Denied != limiter.MonthQuota {
			t.Fatalf("the 101st request: %+v", d)
		}
		n := len(l.commands)
		for range 1000 {
			request(g, l.meter(), monthly(100))
			advance(10 * time.Millisecond)
		}
		if more := len(l.commands) - n; more > 1 {
			t.Errorf("1,000 refusals in 10 s cost %d commands, want one at most", more)
		}
	})
}

func TestGrantsRequestsDoNotWaitOnceWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(1e9, time.Millisecond)
		g, stop := start(t, l)
		defer stop()
		waited := 0
		for i := range 10000 {
			before := time.Now()
			request(g, l.meter(), monthly(1e9))
			if time.Since(before) > 0 && i > 20 {
				waited++
			}
			advance(time.Millisecond)
		}
		if waited > 0 {
			t.Errorf("%d of 10,000 requests waited for a grant", waited)
		}
		if n := len(l.commands); n > 60 {
			t.Errorf("10 s of steady demand took %d commands", n)
		}
	})
}

func TestGrantsGatherConcurrentRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(1000, time.Millisecond)
		g, stop := start(t, l)
		defer stop()
		before := time.Now()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if d := request(g, l.meter(), monthly(1000)); !d.Allowed {
					t.Errorf("refused: %+v", d)
				}
			})
		}
		wg.Wait()
		if took := time.Since(before); took > 10*time.Millisecond {
			t.Errorf("200 cold requests took %v", took)
		}
		if n := len(l.commands); n > 5 {
			t.Errorf("200 cold requests took %d commands", n)
		}
	})
}

func TestGrantsWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(1000, time.Millisecond)
		l.fail = errNoLeader
		g, stop := start(t, l)
		defer stop()
		before := time.Now()
		d := request(g, l.meter(), monthly(1000))
		if !d.Pending || time.Since(before) > 3*awaitTimeout {
			t.Fatalf("after %v: %+v", time.Since(before), d)
		}
		if d.N == 0 || d.States[0].Remaining != 1000 {
			t.Errorf("the state is known without a leader: %+v", d)
		}
		l.fail = nil
		if d := request(g, l.meter(), monthly(1000)); !d.Allowed {
			t.Errorf("with a leader again: %+v", d)
		}
	})
}

func TestGrantsHungLogReleasesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(1000, time.Hour)
		g, stop := start(t, l)
		m := l.meter()
		before := time.Now()
		a := monthly(1000)
		a.Wall = before.UnixNano()
		d := m.Take(a)
		g.Await(t.Context(), "default", record(m, "key_a"), d.Wants[:d.NWants])
		if took := time.Since(before); took != awaitTimeout {
			t.Errorf("waited %v, want %v", took, awaitTimeout)
		}
		stop()
	})
}

// A grant that was applied but not answered is lost, never counted twice.
func TestGrantsUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(100, time.Millisecond)
		g, stop := start(t, l)
		defer stop()
		l.fail, l.lose = errors.New("unknown outcome"), true
		if d := request(g, l.meter(), monthly(100)); !d.Pending {
			t.Fatalf("want pending: %+v", d)
		}
		l.mu.Lock()
		l.fail = nil
		lost := int64(0)
		for _, n := range l.granted {
			lost += n
		}
		l.mu.Unlock()
		admitted := int64(0)
		for range 200 {
			if d := request(g, l.meter(), monthly(100)); d.Allowed {
				admitted++
			}
			advance(10 * time.Millisecond)
		}
		if lost == 0 || admitted != 100-lost {
			t.Errorf("%d were granted without an answer, %d admitted of 100", lost, admitted)
		}
	})
}

func TestGrantsCloseGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMonths(1e6, time.Millisecond)
		g, stop := start(t, l)
		a := monthly(1e6)
		a.Own, a.Budget, a.Reserve = limiter.Limit{PerMonth: 1e6}, 1e6, 10
		for range 500 {
			if d := request(g, l.meter(), a); !d.Allowed {
				t.Fatalf("%+v", d)
			}
			advance(time.Millisecond)
		}
		stop()
		g.Close(t.Context())
		if len(l.granted) != 3 {
			t.Fatalf("buckets: %v", l.granted)
		}
		for b, n := range l.granted {
			want := int64(500)
			if b.Budget {
				want = 5000
			}
			if n != want {
				t.Errorf("%+v: %d stay granted, want what was used, %d", b, n, want)
			}
		}
	})
}

func TestGrantsQueueIsBounded(t *testing.T) {
	l := newMonths(1e6, 0)
	g := NewGrants(Config{Node: "n1", Ledger: l, Propose: l.propose, Now: now, Untaken: untaken, Logger: slog.New(slog.DiscardHandler)})
	m := l.meter()
	for i := range maxQueued + 100 {
		g.Ask("default", record(m, "key_a"), []limiter.Want{{Policy: limiter.MonthQuota, Month: i, Units: 1}})
	}
	if len(g.queue) != maxQueued || len(g.line) != maxQueued {
		t.Fatalf("queue %d, line %d, want %d", len(g.queue), len(g.line), maxQueued)
	}
	g.Close(t.Context())
	if want := maxQueued/maxAsks + 1; len(l.commands) != want {
		t.Errorf("%d commands, want %d", len(l.commands), want)
	}
}
