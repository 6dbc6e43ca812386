package quota

import (
	"context"
	"strings"
	"time"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Bounds of recalls.
const (
	recallTimeout = 2 * time.Second // of one call
	maxRecalled   = 256             // buckets in one call: some 100 bytes each
)

// recall adds a bucket to the next recall; nil if there is no room.
func (g *Grants) recall(m *limiter.Meter, b grantKey) *order {
	b = b.gives() // limits do not matter here
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.missing[b]
	if o == nil {
		if len(g.missing) >= maxQueued {
			return nil
		}
		o = &order{meter: m, done: make(chan struct{})}
		g.missing[b] = o
	}
	g.searchMore()
	return o
}

func (g *Grants) searchMore() {
	select {
	case g.search <- struct{}{}:
	default:
	}
}

// RunRecalls recalls until ctx ends: one call is under way at a time, and while it is,
// the buckets of the next one gather. A call begins after the last request that waits
// for it asked, so that its answer holds for all of them.
func (g *Grants) RunRecalls(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.search:
		}
		var asks []store.GrantAsk
		orders := make(map[grantKey]*order)
		g.mu.Lock()
		for b, o := range g.missing {
			if len(asks) == maxRecalled {
				g.searchMore()
				break
			}
			asks, orders[b] = append(asks, b.name()), o
			delete(g.missing, b)
		}
		g.mu.Unlock()
		if len(orders) > 0 {
			g.recallNow(ctx, asks, orders)
		}
	}
}

func (g *Grants) recallNow(ctx context.Context, asks []store.GrantAsk, orders map[grantKey]*order) {
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	if err := g.cfg.Recall(ctx, asks); err != nil {
		// Nodes that cannot talk refuse requests for units that they cannot find.
		g.cfg.Logger.Debug("units that other nodes hold could not be recalled", "buckets", len(asks), "error", err)
	}
	for b, o := range orders {
		o.meter.Recalled(b.of(), b.policy, b.month, g.cfg.Now())
		close(o.done)
	}
}

// Yield gives back the units that this node holds of the buckets that asks name and does
// not need, and returns when that is in the log, as are the units that were being given
// back before. It is this node's part of another's recall.
func (g *Grants) Yield(ctx context.Context, asks []store.GrantAsk) error {
	var orders []*order
	for _, a := range asks {
		cell := g.cfg.Ledger.Cell(a.Account)
		if cell == nil || int(a.Type) >= len(cell.Meters) || cell.Meters[a.Type] == nil {
			continue
		}
		b := grantKey{account: a.Account, typ: a.Type, key: a.Key, counted: a.Key, rule: a.Rule, give: true}
		_, b.policy, b.month = a.Count()
		if o := g.enqueue(cell.Meters[a.Type], b, 0, 0, true); o != nil {
			orders = append(orders, o)
		}
	}
	for _, o := range orders {
		select {
		case <-o.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-g.ended:
			return nil // a clean stop gives everything back
		}
	}
	return nil
}

// giveBack returns the rest of chunks. A rest for which the queue has no room is
// lost to its month, as a crash's chunks are.
func (g *Grants) giveBack(m *limiter.Meter, account store.AccountID, t store.KeyType, unused []limiter.Unused) {
	for _, u := range unused {
		b := grantKey{account: account, typ: t, key: store.KeyID(u.Key), policy: u.Policy, month: u.Month, give: true}
		if u.Policy == limiter.RuleDay || u.Policy == limiter.RuleMonth {
			var key string
			b.rule, key, _ = strings.Cut(u.Key, "/")
			b.key = store.KeyID(key)
		}
		b.counted = b.key
		g.enqueue(m, b, u.Units, 0, false)
	}
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

// Prune drops the state of keys that have long been idle from the meters, and gives
// their chunks back; now and refilled as in limiter.Ask. A ticker calls it once a minute.
func (g *Grants) Prune(now, refilled int64) {
	meters(g.cfg.Ledger, func(a store.AccountID, t store.KeyType, m *limiter.Meter) {
		g.giveBack(m, a, t, m.Prune(now, refilled, nil))
	})
}

// Close gives every unused chunk back. It is called after Run has returned and
// the last request has been answered, while the log still works; a chunk that
// cannot be given back is lost to its month.
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
