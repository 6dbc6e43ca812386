package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Ledger is what [Grants] needs of the replicated state; *store.Store is one.
type Ledger interface {
	Granted(a store.AccountID, t store.KeyType, k store.KeyID, budget bool, month int) (int64, error)
	Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID)
	Cell(store.AccountID) *store.Cell
}

// GrantsConfig is what [NewGrants] needs; all fields are required.
type GrantsConfig struct {
	Node    string // this node's id, as it stands in the log
	Ledger  Ledger
	Propose func(context.Context, *store.Command) (httpapi.Receipt, error)
	Logger  *slog.Logger
}

// The bounds of the driver.
const (
	// gatherAhead is how long a want that nobody waits for may wait for company.
	// One that a request waits for goes at once, with all that have gathered.
	gatherAhead = 5 * time.Millisecond
	// awaitTimeout bounds a request's wait for one answer; contract section 8 allows
	// a write 2 s to find a leader.
	awaitTimeout = 3 * time.Second
	// maxAsks bounds one command: some 150 bytes each.
	maxAsks = 1000
	// maxQueued bounds the buckets that wait to be asked for: some 300 bytes each.
	maxQueued = 65536
)

// Grants gets the chunks of months and budgets that meters spend: it gathers
// what meters want, proposes one command for all of it, and credits the meters
// from the answer. One command is under way at a time; while it is, the next one
// gathers, so a slow log makes commands larger, not more. A bucket stands in a
// command once, whoever asks.
//
// A command whose outcome is not known may have been applied: its units are then
// lost to this node until the month ends, never granted twice.
type Grants struct {
	cfg GrantsConfig

	mu     sync.Mutex
	queue  map[grantKey]*order // what is not under way yet
	line   []grantKey          // queue's keys, first come first
	urgent bool                // a request waits for something in queue

	wake   chan struct{} // holds a token when queue or urgent has changed
	ended  chan struct{} // closed when Run has returned
	failed bool          // the last command failed; Run's own
}

// grantKey names one bucket of the replicated state.
type grantKey struct {
	account store.AccountID
	typ     store.KeyType
	key     store.KeyID // empty: the account's own month
	policy  limiter.Policy
	month   int
	give    bool // units are returned, not asked for
}

// order is what is asked for one bucket in one command.
type order struct {
	meter *limiter.Meter
	units int64         // the largest chunk that was asked for; what is given back
	need  int64         // the sum of what waiting requests lack
	done  chan struct{} // closed when the command has been answered, or has failed
}

// NewGrants returns a driver; Run drives it.
func NewGrants(cfg GrantsConfig) *Grants {
	return &Grants{
		cfg:   cfg,
		queue: make(map[grantKey]*order),
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
}

// Ask hands over what a decision wants ahead of use. It does not wait; when the
// queue is full the wants are dropped, and the meter asks again.
func (g *Grants) Ask(m *limiter.Meter, account store.AccountID, t store.KeyType, key store.KeyID, wants []limiter.Want) {
	for _, w := range wants {
		g.seed(m, account, t, key, w)
		if w.Units > 0 {
			g.enqueue(m, bucketOf(account, t, key, w), w.Units, 0, false)
		}
	}
}

// Await gets what a pending decision wants: it seeds the meter from the
// replicated state, then waits until every want has been answered, its command
// has failed, or ctx or 3 s have ended. The caller asks the meter again in any
// case; if the request is still pending after a few rounds, nothing can be
// granted now (no leader) and the answer is 503.
func (g *Grants) Await(ctx context.Context, m *limiter.Meter, account store.AccountID, t store.KeyType, key store.KeyID, wants []limiter.Want) {
	var orders [len(limiter.Decision{}.Wants)]*order
	for i, w := range wants {
		g.seed(m, account, t, key, w)
		if w.Units > 0 && i < len(orders) {
			orders[i] = g.enqueue(m, bucketOf(account, t, key, w), w.Units, w.Need, true)
		}
	}
	timeout := time.NewTimer(awaitTimeout)
	defer timeout.Stop()
	for _, o := range orders {
		if o == nil {
			continue
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return
		case <-timeout.C:
			return
		case <-g.ended:
			return
		}
	}
}

// bucketOf is the bucket of a want; the account's month belongs to no key.
func bucketOf(account store.AccountID, t store.KeyType, key store.KeyID, w limiter.Want) grantKey {
	if w.Policy == limiter.MonthQuota {
		key = ""
	}
	return grantKey{account: account, typ: t, key: key, policy: w.Policy, month: w.Month}
}

// seed tells the meter what the replicated state says of a month, once for each
// bucket and start: a local read, made under no lock. If it fails, the month
// stays unknown and requests stay pending, which is the safe side.
func (g *Grants) seed(m *limiter.Meter, account store.AccountID, t store.KeyType, key store.KeyID, w limiter.Want) {
	if !w.Seed {
		return
	}
	b := bucketOf(account, t, key, w)
	total, err := g.cfg.Ledger.Granted(b.account, b.typ, b.key, w.Policy == limiter.Budget, w.Month)
	if err != nil {
		g.cfg.Logger.Error("cannot read what a month has been granted", "account", account, "policy", w.Policy.String(), "error", err)
		return
	}
	m.Seed(string(key), w.Policy, w.Month, total)
}

// enqueue adds to the next command; nil if there is no room.
func (g *Grants) enqueue(m *limiter.Meter, b grantKey, units, need int64, urgent bool) *order {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.queue[b]
	if o == nil {
		if len(g.queue) >= maxQueued {
			return nil
		}
		o = &order{meter: m, done: make(chan struct{})}
		g.queue[b] = o
		g.line = append(g.line, b)
	}
	if b.give {
		o.units += units
	} else {
		o.units = max(o.units, units)
	}
	o.need += need
	g.urgent = g.urgent || urgent
	g.notify()
	return o
}

func (g *Grants) notify() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// giveBack returns what chunks still held. What finds no room in the queue is
// lost to its month, as a crash's chunks are.
func (g *Grants) giveBack(m *limiter.Meter, account store.AccountID, t store.KeyType, unused []limiter.Unused) {
	for _, u := range unused {
		b := grantKey{account: account, typ: t, key: store.KeyID(u.Key), policy: u.Policy, month: u.Month, give: true}
		g.enqueue(m, b, u.Units, 0, false)
	}
}

// Run drives until ctx ends, and returns when the command under way then has
// been answered. Requests that wait are released.
func (g *Grants) Run(ctx context.Context) {
	defer close(g.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		if !g.gather(ctx) {
			return
		}
		// The command outlives ctx: cutting it short would only lose what it grants.
		g.flush(context.WithoutCancel(ctx))
	}
}

// gather waits for company until a request waits, the time is up, or ctx ends;
// in the last case it reports false.
func (g *Grants) gather(ctx context.Context) bool {
	timer := time.NewTimer(gatherAhead)
	defer timer.Stop()
	for {
		g.mu.Lock()
		urgent := g.urgent
		g.mu.Unlock()
		if urgent {
			return true
		}
		select {
		case <-g.wake:
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// batch takes the head of the queue, at most maxAsks of it.
func (g *Grants) batch() ([]grantKey, []*order) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.line), maxAsks)
	keys := slices.Clone(g.line[:n])
	orders := make([]*order, n)
	for i, b := range keys {
		orders[i] = g.queue[b]
		delete(g.queue, b)
	}
	if g.line = g.line[n:]; len(g.line) == 0 {
		g.line, g.urgent = nil, false
	} else {
		g.notify()
	}
	return keys, orders
}

// flush proposes one command and hands out its answer.
func (g *Grants) flush(ctx context.Context) {
	keys, orders := g.batch()
	if len(keys) == 0 {
		return
	}
	defer func() {
		for _, o := range orders {
			close(o.done)
		}
	}()
	cmd := &store.Command{
		At:    time.Now().UTC(),
		Actor: store.Actor{Type: store.ActorSystem, ID: g.cfg.Node},
		Grant: &store.Grant{Node: g.cfg.Node, Asks: make([]store.GrantAsk, len(keys))},
	}
	for i, b := range keys {
		cmd.Grant.Asks[i] = b.ask(orders[i])
	}
	ctx, cancel := context.WithTimeout(ctx, httpapi.ProposeTimeout)
	defer cancel()
	receipt, err := g.cfg.Propose(ctx, cmd)
	if err == nil && receipt.Refusal != nil {
		err = receipt.Refusal
	}
	if err == nil && len(receipt.Granted) != len(keys) {
		err = fmt.Errorf("BUG: %d asks were answered by %d grants", len(keys), len(receipt.Granted))
	}
	g.report(err)
	if err != nil {
		return
	}
	for i, b := range keys {
		if got := receipt.Granted[i]; b.give {
			continue
		} else if got.N > 0 {
			orders[i].meter.Credit(string(b.key), b.policy, b.month, got.N, got.Total)
		} else {
			orders[i].meter.Refused(string(b.key), b.policy, b.month, got.Total)
		}
	}
}

func (b grantKey) ask(o *order) store.GrantAsk {
	a := store.GrantAsk{
		Account: b.account,
		Type:    b.typ,
		Key:     b.key,
		Budget:  b.policy == limiter.Budget,
		Month:   b.month,
	}
	if b.give {
		a.Give = o.units
	} else {
		a.Want = max(o.units, o.need)
	}
	return a
}

// report logs when granting begins to fail and when it works again, not in between.
func (g *Grants) report(err error) {
	switch {
	case err != nil && !g.failed:
		g.cfg.Logger.Warn("months cannot be granted; requests beyond the chunks at hand wait and are refused", "error", err)
	case err == nil && g.failed:
		g.cfg.Logger.Info("months are granted again")
	}
	g.failed = err != nil
}

// meters calls f for every account's meter of each key type.
func meters(l Ledger, f func(store.AccountID, store.KeyType, *limiter.Meter)) {
	for after := store.AccountID(""); ; {
		page, next := l.Accounts(after, 1000)
		for _, a := range page {
			cell := l.Cell(a.ID)
			if cell == nil {
				continue // deleted meanwhile
			}
			for t, m := range cell.Meters {
				if m != nil {
					f(a.ID, store.KeyType(t), m)
				}
			}
		}
		if next == "" {
			return
		}
		after = next
	}
}

// Prune drops what meters keep of keys that have long been idle, and gives their
// chunks back; now and refilled as in limiter.Ask. A ticker calls it once a minute.
func (g *Grants) Prune(now, refilled int64) {
	meters(g.cfg.Ledger, func(a store.AccountID, t store.KeyType, m *limiter.Meter) {
		g.giveBack(m, a, t, m.Prune(now, refilled, nil))
	})
}

// Close gives every unused chunk back. It is called after Run has returned and
// the last request has been answered, while the log still works; what cannot be
// given back is lost to its month.
func (g *Grants) Close(ctx context.Context) {
	meters(g.cfg.Ledger, func(a store.AccountID, t store.KeyType, m *limiter.Meter) {
		g.giveBack(m, a, t, m.Surrender(nil))
	})
	for ctx.Err() == nil {
		g.mu.Lock()
		n := len(g.line)
		g.mu.Unlock()
		if n == 0 || g.failed {
			return
		}
		g.flush(ctx)
	}
}
