package admit

import (
	"context"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// A charge that lacks a chunk of a month waits for the replicated state: at most
// chargeRounds asks and chargeWait in all, which is longer than a cluster is
// without a leader after one has crashed. A second round is needed where the last
// units of a month are contended, a third where the month turns meanwhile.
const (
	chargeRounds = 4
	chargeWait   = 5 * time.Second
)

// Charge is step 10 for an admitted request: units of every limit that binds its
// key, and reserve of the key's budget, all or none. It fills in p.Limits, also
// when it refuses: 429 or 402, or 503 if the month's state could not be had in
// time. now is the wall clock's; the month is read from it. A pass without a key
// is free.
func (g *Gate) Charge(ctx context.Context, p *Pass, units int64, reserve store.Money, now time.Time) *fault.Error {
	if p.Record == nil {
		return nil
	}
	a := g.ask(p)
	a.Units, a.Reserve = units, int64(reserve)
	return g.take(ctx, p, &a, now)
}

// Look fills in p.Limits without charging anything, for responses that carry the
// limits of a valid key which they did not spend.
func (g *Gate) Look(ctx context.Context, p *Pass, now time.Time) {
	if !p.Valid {
		return
	}
	a := g.ask(p)           // for no units
	g.take(ctx, p, &a, now) // without an answer there are no headers, and that is all
}

// ask is the request to p's meter, all but its size.
func (g *Gate) ask(p *Pass) limiter.Ask {
	s := g.settings.Load()
	boot := s.BootIndex
	return limiter.Ask{
		CountedFrom: s.countedFrom,
		Account:     p.Account.Limit[p.Record.Type], AccountFresh: p.Account.Created > boot,
		Key: string(p.Record.ID), Own: p.Record.Limit, KeyFresh: p.Record.Created > boot,
		Budget: int64(p.Record.Budget),
	}
}

func (g *Gate) take(ctx context.Context, p *Pass, a *limiter.Ask, now time.Time) *fault.Error {
	s := g.settings.Load()
	meter := p.Record.Account.Meters[p.Record.Type]
	_, mono := s.Clock()
	a.Now, a.Wall, a.Refilled = mono, now.UnixNano(), s.refilled(mono)
	if a.Budget > 0 {
		p.month = store.Month(now)
	}
	a.Lend = s.Alone != nil && s.Alone()
	p.Limits = meter.Take(a)
	if p.Limits.NWants > 0 {
		s.extend(ctx, meter, p, a)
	}
	switch d := &p.Limits; {
	case d.Allowed:
		return nil
	case d.Pending:
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1,
			Message: "This month's count could not be read or extended in time; nothing was charged."}
	default:
		return refused(d)
	}
}

// extend hands p's wants to the granter: to be answered some time if the request
// is decided already, and before it is asked again if not. It stands apart from
// take because what it passes on lives on the heap.
func (s *settings) extend(ctx context.Context, meter *limiter.Meter, p *Pass, a *limiter.Ask) {
	var cancel context.CancelFunc
	for round := 0; p.Limits.NWants > 0; round++ {
		wants := slices.Clone(p.Limits.Wants[:p.Limits.NWants])
		if !p.Limits.Pending {
			s.Grants.Ask(meter, p.Account.ID, p.Record.Type, p.Record.ID, wants)
			return
		}
		if round == chargeRounds {
			return
		}
		if cancel == nil {
			ctx, cancel = context.WithTimeout(ctx, chargeWait)
			defer cancel()
		}
		s.Grants.Await(ctx, meter, p.Account.ID, p.Record.Type, p.Record.ID, wants)
		if ctx.Err() != nil {
			return
		}
		now, mono := s.Clock()
		a.Now, a.Wall, a.Refilled, p.month = mono, now.UnixNano(), s.refilled(mono), store.Month(now)
		p.Limits = meter.Take(a)
	}
}

// refilled is [limiter.Ask.Refilled] at the monotonic time now.
func (s *settings) refilled(now int64) int64 {
	if s.BootIndex == 0 {
		return limiter.Forever // this process is the first that ever charged anything
	}
	return max(0, now-s.Since)
}

// refused is the fault of a refusal. The wait is the same in header and body,
// since both are written from it.
func refused(d *limiter.Decision) *fault.Error {
	f := &fault.Error{Code: fault.RequestsPerMinute, RetryAfter: d.RetryAfter}
	switch d.Denied {
	case limiter.MonthQuota:
		f.Code = fault.RequestsPerMonth
	case limiter.KeyMinute:
		f.Message = "You have exceeded your rate limit: the key's own requests per minute"
	case limiter.KeyMonth:
		f.Code = fault.RequestsPerMonth
		f.Message = "You have exceeded your rate limit: the key's own requests per month are used up"
	case limiter.Budget:
		// No Retry-After: clients that obey it by themselves would sleep until the
		// month turns, and a budget is raised by hand.
		return fault.New(fault.BudgetExceeded)
	}
	if d.Never {
		f.Message = "You have exceeded your rate limit: one such request costs more than the limit ever allows at once"
	}
	return f
}

// Settle replaces what Charge reserved of the key's budget by what the request
// cost, once that is known.
func (g *Gate) Settle(p *Pass, reserve, actual store.Money) {
	if p.Record == nil || p.Record.Budget == 0 || reserve == actual {
		return
	}
	meter := p.Record.Account.Meters[p.Record.Type]
	if w := meter.Settle(string(p.Record.ID), p.month, int64(reserve), int64(actual)); w.Units != 0 {
		g.settings.Load().Grants.Ask(meter, p.Account.ID, p.Record.Type, p.Record.ID, []limiter.Want{w})
	}
}
