package quota

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// fleet is some nodes over one replicated state.
type fleet struct {
	*months
	nodes   []*member
	recalls int // guarded by months.mu
	index   uint64
}

// member is one node: its driver, and meters of its own.
type member struct {
	*Grants
	fleet *fleet
	cells *months // for its cells alone
}

func (m *member) GrantedOf(ask store.GrantAsk) (int64, error) {
	return m.fleet.GrantedOf(ask)
}

func (m *member) Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID) {
	return m.cells.Accounts(after, limit)
}

func (m *member) Cell(id store.AccountID) *store.Cell { return m.cells.Cell(id) }

// propose is that of months; every node learns the totals in the order of the log.
func (f *fleet) propose(_ context.Context, c *store.Command) (store.Result, error) {
	advance(f.delay)
	f.mu.Lock()
	defer f.mu.Unlock()
	r, err := f.apply(c)
	f.index++
	r.Index = f.index
	for i, a := range c.Change.(*store.Grant).Asks {
		policy := limiter.MonthQuota
		if a.Budget {
			policy = limiter.Budget
		}
		for _, n := range f.nodes {
			if i < len(r.Granted) {
				n.cells.meter().Total(string(a.Key), policy, a.Month, r.Granted[i].Total, f.index)
			}
		}
	}
	return r, err
}

// recall is the leader's part.
func (f *fleet) recall(ctx context.Context, asks []store.GrantAsk) error {
	f.mu.Lock()
	f.recalls++
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, n := range f.nodes {
		wg.Go(func() { _ = n.Yield(ctx, asks) })
	}
	wg.Wait()
	return nil
}

// assemble starts n nodes inside a synctest bubble; limit is that of every bucket.
func assemble(t *testing.T, n int, limit int64) (*fleet, func()) {
	f := &fleet{months: newMonths(limit, time.Millisecond)}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	for range n {
		m := &member{fleet: f, cells: newMonths(0, 0)}
		m.Grants = NewGrants(Config{
			Node: "n", Ledger: m, Propose: f.propose, Now: now, Untaken: untaken, Recall: f.recall, Logger: slog.New(slog.DiscardHandler),
		})
		f.nodes = append(f.nodes, m)
		tasks.Go(func() { m.Run(ctx) })
		tasks.Go(func() { m.RunRecalls(ctx) })
	}
	return f, func() { cancel(); tasks.Wait() }
}

// take is one request at the node, as the gate makes it.
func (m *member) take(a limiter.Ask) limiter.Decision {
	meter := m.cells.meter()
	a.Shared = true
	for range 10 {
		a.Wall = time.Now().UnixNano()
		a.Now = a.Wall
		d := meter.Take(&a)
		if !d.Pending {
			if d.NWants > 0 {
				m.Ask("default", record(meter, a.Key), d.Wants[:d.NWants])
			}
			return d
		}
		m.Await(context.Background(), "default", record(meter, a.Key), d.Wants[:d.NWants])
	}
	return limiter.Decision{Pending: true}
}

func (m *member) settle(d limiter.Decision, reserve, cost int64) {
	meter := m.cells.meter()
	if w := meter.Settle("key_a", d.Month, reserve, cost); w.Give || w.Units > 0 {
		m.Ask("default", record(meter, "key_a"), []limiter.Want{w})
	}
}

// Before a node refuses, the others give back the units that they hold and do not need.
func TestRecallBeforeARefusal(t *testing.T) {
	for name, c := range map[string]struct {
		limit, units, want int64
		of                 func(i int) int
	}{
		"months":      {1000, 1, 1000, func(i int) int { return min(i/300, 2) }},
		"seven units": {98, 7, 14, func(i int) int { return i % 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, stop := assemble(t, 3, c.limit)
				defer stop()
				for i := range int(c.want) {
					a := monthly(c.limit)
					a.Units = c.units
					if d := f.nodes[c.of(i)].take(*a); !d.Allowed {
						t.Fatalf("request %d of %d: %+v", i, c.want, d)
					}
					advance(time.Millisecond)
				}
				for i, n := range f.nodes {
					if d := n.take(*monthly(c.limit)); d.Allowed || d.Pending {
						t.Errorf("node %d goes on: %+v", i, d)
					}
				}
			})
		})
	}
}

func budget(limit, reserve int64) limiter.Ask {
	return limiter.Ask{Units: 1, Key: "key_a", Budget: limit, Reserve: reserve}
}

// The rest of a settled request is there for the other nodes at once.
func TestSettledRestsReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, stop := assemble(t, 3, 200)
		defer stop()
		for i := range 101 {
			n := f.nodes[i%3]
			d := n.take(budget(200, 100))
			if !d.Allowed {
				t.Fatalf("request %d: %+v", i, d)
			}
			n.settle(d, 100, 1)
		}
		if d := f.nodes[0].take(budget(200, 100)); d.Allowed || d.Denied != limiter.Budget {
			t.Errorf("%+v", d)
		}
	})
}

// A month that is used up costs messages by the time, not by the requests: a recall a
// second at first, soon one a minute. One more unit is found at once.
func TestRefusalsCostFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, stop := assemble(t, 3, 100)
		defer stop()
		for i := range 100 {
			if d := f.nodes[i%3].take(*monthly(100)); !d.Allowed {
				t.Fatalf("request %d: %+v", i, d)
			}
		}
		commands := len(f.commands)
		f.recalls = 0
		for range 60_000 {
			for _, n := range f.nodes {
				if d := n.take(*monthly(100)); d.Allowed || d.Pending {
					t.Fatalf("%+v", d)
				}
			}
			advance(time.Millisecond)
		}
		if f.recalls > 3*7 || len(f.commands) != commands {
			t.Errorf("180,000 refusals in a minute cost %d recalls and %d commands", f.recalls, len(f.commands)-commands)
		}
		m := f.nodes[1].cells.meter()
		wants := m.Refund("key_a", store.Month(time.Now()), 1, 0)
		f.nodes[1].Ask("default", record(m, "key_a"), wants)
		advance(50 * time.Millisecond)
		if d := f.nodes[0].take(*monthly(100)); !d.Allowed {
			t.Errorf("a unit that was refunded elsewhere: %+v", d)
		}
	})
}

// Units that cannot be given back stay here, unless they may have been.
func TestYieldWithoutALeader(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		left int64
	}{"no leader": {errNoLeader, 100}, "unknown outcome": {errors.New("unknown"), 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, stop := assemble(t, 1, 1000)
				defer stop()
				n, m := f.nodes[0], f.nodes[0].cells.meter()
				month := store.Month(time.Now())
				if d := n.take(*monthly(1000)); !d.Allowed {
					t.Fatalf("%+v", d)
				}
				had := m.Yield("", limiter.MonthQuota, month, now())
				m.Restore("", limiter.MonthQuota, month, had)
				m.Credit("", limiter.MonthQuota, month, 99-had, 100)
				f.fail = c.err
				if err := n.Yield(t.Context(), []store.GrantAsk{{Account: "default", Type: store.Live, Month: month}}); err != nil {
					t.Fatal(err)
				}
				if got := m.Yield("", limiter.MonthQuota, month, now()); got != c.left-1 {
					t.Errorf("%d units are here, want %d", got, c.left-1)
				}
			})
		})
	}
}

// Whatever is recalled meanwhile and however often the log is silent, no unit is spent
// twice; and without faults, the rest at the end is found through every node.
func TestRecallsSpendNothingTwice(t *testing.T) {
	for _, faults := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 5000
			f, stop := assemble(t, 3, limit)
			defer stop()
			var mu sync.Mutex
			spent := int64(0)
			var wg sync.WaitGroup
			for i := range 12 {
				r := rand.New(rand.NewPCG(uint64(i), 7))
				wg.Go(func() {
					for range 300 {
						advance(time.Duration(r.IntN(5000)) * time.Microsecond)
						if faults && r.IntN(20) == 0 {
							f.mu.Lock()
							f.fail, f.lose = []error{nil, errNoLeader, errors.New("unknown")}[r.IntN(3)], false
							f.lose = f.fail != nil && !untaken(f.fail)
							f.mu.Unlock()
						}
						n, reserve := f.nodes[r.IntN(3)], 1+r.Int64N(200)
						d := n.take(budget(limit, reserve))
						if !d.Allowed {
							continue
						}
						advance(time.Duration(r.IntN(5000)) * time.Microsecond)
						cost := r.Int64N(reserve + 1)
						n.settle(d, reserve, cost)
						mu.Lock()
						spent += cost
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if spent > limit {
				t.Fatalf("%d of %d were spent", spent, limit)
			}
			if faults {
				return
			}
			advance(time.Second)
			for i, rest := range []int64{limit - spent + 1, limit - spent} {
				if d := f.nodes[i].take(budget(limit, max(rest, 1))); d.Allowed != (i == 1 && rest > 0) {
					t.Errorf("%d of %d were spent, and for %d more the answer is %+v", spent, limit, rest, d)
				}
				advance(2 * time.Second)
			}
		})
	}
}
