package quota

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Ledger is the part of the replicated state that [Grants] and [Levels] read;
// *store.Store is one.
type Ledger interface {
	GrantedOf(store.GrantAsk) (int64, error)
	Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID)
	Cell(store.AccountID) *store.Cell
}

// Config configures [NewGrants]. All fields but Recall are required.
type Config struct {
	Node   string // this node's id, as it stands in the log
	Ledger Ledger
	// Propose returns when the command is applied here, or when its outcome is not
	// known after a bound of Propose's own.
	Propose func(context.Context, *store.Command) (store.Result, error)
	// Untaken reports of an error of Propose that the command is certainly not in the
	// log and never will be.
	Untaken func(error) bool
	Now     func() int64 // the clock of limiter.Ask.Now
	Logger  *slog.Logger

	// Recall has all nodes of the cluster give back the units that they hold of these buckets
	// and do not need, and returns when the state here includes that; see Yield. nil: there
	// are no other nodes. Of an ask, only the fields that name a bucket are set.
	Recall func(context.Context, []store.GrantAsk) error
}

// The bounds of the driver.
const (
	// gatherAhead is how long a want ahead of use may wait for others.
	// One that a request waits for goes at once, with all that have gathered.
	gatherAhead = 5 * time.Millisecond
	// awaitTimeout bounds a request's wait for one answer; a write may take 2 s to
	// find a leader.
	awaitTimeout = 3 * time.Second
	// maxAsks bounds one command: some 150 bytes each.
	maxAsks = 1000
	// maxQueued bounds the buckets that wait to be asked for: some 300 bytes each.
	maxQueued = 65536
)

// Grants gets the chunks of months and budgets that meters spend: it gathers
// the wants of meters, proposes one command for all of them, and credits the meters
// from the answer. One command is under way at a time; while it is, the next one
// gathers, so a slow log makes commands larger, not more. A bucket is in a
// command once, however many requests ask for it.
//
// A command with an unknown outcome may have been applied: its units are then
// lost to this node until the month ends, never granted twice.
type Grants struct {
	cfg Config

	mu     sync.Mutex
	queue  map[grantKey]*order // not under way yet
	line   []grantKey          // queue's keys, first come first
	urgent bool                // a request waits for something in queue

	missing map[grantKey]*order // to be recalled by the next call; guarded by mu
	search  chan struct{}       // holds a token when missing has changed

	wake   chan struct{} // holds a token when queue or urgent has changed
	ended  chan struct{} // closed when Run has returned
	failed bool          // the last command failed; Run's own
}

// grantKey names one bucket of the replicated state.
type grantKey struct {
	account store.AccountID
	typ     store.KeyType
	key     store.KeyID // whose limit holds; empty: the account's own month
	counted store.KeyID // as which key is counted; see store.Record.Counted
	policy  limiter.Policy
	rule    string // of a rule's policy
	month   int    // or day, of limiter.RuleDay
	give    bool   // units are returned, not asked for
}

// order is the part of one command that asks for one bucket.
type order struct {
	meter *limiter.Meter
	units int64         // the largest chunk that was asked for, or the sum that is given back at least
	need  int64         // the sum of the units that waiting requests lack
	done  chan struct{} // closed when the command has been answered, or has failed
}

// NewGrants returns a driver; Run drives it.
func NewGrants(cfg Config) *Grants {
	return &Grants{
		cfg:   cfg,
		queue: make(map[grantKey]*order),
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),

		missing: make(map[grantKey]*order),
		search:  make(chan struct{}, 1),
	}
}

// Ask hands over the wants of a decision ahead of use. It does not wait; when the
// queue is full the wants are dropped, and the meter asks again.
func (g *Grants) Ask(account store.AccountID, key *store.Record, wants []limiter.Want) {
	m := meterOf(key)
	for _, w := range wants {
		b := bucketOf(account, key, w)
		g.seed(m, b, w)
		switch {
		case w.Units > 0:
			g.enqueue(m, b, w.Units, 0, false)
		case w.Give && g.cfg.Recall != nil:
			g.enqueue(m, b.gives(), 0, 0, false)
		}
	}
}

func meterOf(key *store.Record) *limiter.Meter { return key.Account.Meters[key.Type] }

// Await gets the wants of a pending decision: it seeds the meter from the
// replicated state, then waits until every want has been answered, its command
// has failed, or ctx or 3 s have ended. The caller asks the meter again in any
// case; if the request is still pending after a few rounds, nothing can be
// granted now (no leader) and the answer is 503.
func (g *Grants) Await(ctx context.Context, account store.AccountID, key *store.Record, wants []limiter.Want) {
	m := meterOf(key)
	orders := make([]*order, len(wants))
	for i, w := range wants {
		b := bucketOf(account, key, w)
		g.seed(m, b, w)
		switch {
		case w.Units > 0:
			orders[i] = g.enqueue(m, b, w.Units, w.Need, true)
		case w.Recall:
			orders[i] = g.recall(m, b)
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
func bucketOf(account store.AccountID, key *store.Record, w limiter.Want) grantKey {
	b := grantKey{account: account, typ: key.Type, policy: w.Policy, rule: w.Rule, month: w.Month}
	switch {
	case w.Policy == limiter.MonthQuota || w.Rule != "" && w.Key == "":
	case w.Rule != "":
		b.key, b.counted = key.ID, store.KeyID(w.Key)
	default:
		b.key, b.counted = key.ID, key.Counted().ID
	}
	return b
}

// of is the name of b's count in calls of its meter.
func (b grantKey) of() string {
	if b.rule != "" {
		return limiter.RuleOf(b.rule, string(b.counted))
	}
	return string(b.counted)
}

// gives is the bucket as one that units are returned to.
func (b grantKey) gives() grantKey {
	b.key, b.give = b.counted, true
	return b
}

// seed gives the meter the replicated state's total of a month, once for each
// bucket and start: a local read, made under no lock. If it fails, the month
// stays unknown and requests stay pending, which is the safe side.
func (g *Grants) seed(m *limiter.Meter, b grantKey, w limiter.Want) {
	if !w.Seed {
		return
	}
	total, err := g.cfg.Ledger.GrantedOf(b.gives().name())
	if err != nil {
		g.cfg.Logger.Error("cannot read the grants of a month", "account", b.account, "policy", w.Policy.String(), "error", err)
		return
	}
	m.Seed(b.of(), w.Policy, w.Month, total)
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

// Run proposes until ctx ends, and returns when the command that is then under way
// has been answered. Requests that wait are released.
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
		// The command outlives ctx: cutting it short would only lose its grants.
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

// batch takes the head of the queue, at most maxAsks of it. Units given back leave the
// meter only here: until then requests may still use it.
func (g *Grants) batch() (keys []grantKey, orders []*order) {
	g.mu.Lock()
	n := min(len(g.line), maxAsks)
	keys = slices.Clone(g.line[:n])
	orders = make([]*order, n)
	for i, b := range keys {
		orders[i] = g.queue[b]
		delete(g.queue, b)
	}
	if g.line = g.line[n:]; len(g.line) == 0 {
		g.line, g.urgent = nil, false
	} else {
		g.notify()
	}
	g.mu.Unlock()
	for i, b := range keys {
		if b.give {
			orders[i].units += orders[i].meter.Yield(b.of(), b.policy, b.month, g.cfg.Now())
		}
	}
	return keys, orders
}

// flush proposes one command and hands out its answer.
func (g *Grants) flush(ctx context.Context) {
	keys, orders := g.batch()
	defer func() {
		for _, o := range orders {
			close(o.done)
		}
	}()
	var asked []int // indexes of keys
	asks := make([]store.GrantAsk, 0, len(keys))
	for i, b := range keys {
		if ask := b.ask(orders[i]); ask.Want > 0 || ask.Give > 0 {
			asks, asked = append(asks, ask), append(asked, i)
		}
	}
	if len(asks) == 0 {
		return // nothing was left to give back
	}
	cmd := &store.Command{
		At:     time.Now().UTC(),
		Actor:  store.Actor{Type: store.ActorSystem, ID: g.cfg.Node},
		Change: &store.Grant{Node: g.cfg.Node, Asks: asks},
	}
	result, err := g.cfg.Propose(ctx, cmd)
	if err == nil && result.Refusal != nil {
		err = result.Refusal
	}
	if err == nil && len(result.Granted) != len(asks) {
		err = fmt.Errorf("BUG: %d asks were answered by %d grants", len(asks), len(result.Granted))
	}
	g.report(err)
	for n, i := range asked {
		b, o := keys[i], orders[i]
		switch {
		case err == nil && !b.give:
			o.meter.Answered(b.of(), b.policy, b.month, limiter.Answer{
				N: result.Granted[n].N, Total: result.Granted[n].Total, Index: result.Index, Need: o.need, Now: g.cfg.Now(),
			})
		case err != nil && b.give && g.cfg.Untaken(err):
			o.meter.Restore(b.of(), b.policy, b.month, o.units)
		}
	}
}

func (b grantKey) ask(o *order) store.GrantAsk {
	a := b.name()
	if b.give {
		a.Give = o.units
	} else {
		a.Want = max(o.units, o.need)
	}
	return a
}

// name is an ask that only names the bucket.
func (b grantKey) name() store.GrantAsk {
	a := store.GrantAsk{Account: b.account, Type: b.typ, Key: b.key, Budget: b.policy == limiter.Budget, Rule: b.rule, Month: b.month}
	if b.policy == limiter.RuleDay {
		a.Month, a.Day = 0, b.month
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
