package admit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// A charge that lacks a chunk of a month waits for the replicated state: at most
// chargeRounds asks and chargeWait in all, which is longer than a cluster is
// without a leader after one has crashed. Where the last units of a month are
// contended, a round asks for them, the next recalls the units that other nodes hold,
// and the next asks again; others may be faster, and the month may turn meanwhile.
const (
	chargeRounds = 10
	chargeWait   = 5 * time.Second
)

// Charge is step 10 for an admitted request: a place among the requests in flight of its
// key, which Leave frees, then units of every limit and rule that binds it, and reserve of
// the key's budget, all or none. It fills in p.Limits, also
// when it refuses: 429 or 402, or 503 if the month's state could not be had in
// time. now is the wall clock's; the month is read from it. A pass without a key
// is free.
func (g *Gate) Charge(ctx context.Context, p *Pass, units int64, reserve store.Money, now time.Time) *fault.Error {
	if p.Record == nil {
		return nil
	}
	if f := g.enter(p); f != nil {
		return f
	}
	f := g.charge(ctx, p, units, reserve, now)
	if f != nil {
		g.Leave(p)
	}
	return f
}

func (g *Gate) charge(ctx context.Context, p *Pass, units int64, reserve store.Money, now time.Time) *fault.Error {
	a := g.ask(p)
	if f := g.addRules(p, &a, thisRequest); f != nil {
		return f
	}
	a.Units, a.Reserve = units, int64(reserve)
	f := g.take(ctx, p, &a, now)
	g.watchCharge(p, f)
	return f
}

// Look fills in p.Limits without charging anything, for responses that carry the
// limits of a valid key which they did not spend.
func (g *Gate) Look(ctx context.Context, p *Pass, now time.Time) {
	if !p.Valid {
		return
	}
	a := g.ask(p) // for no units
	if g.addRules(p, &a, thisRequest) == nil {
		_ = g.take(ctx, p, &a, now) // without an answer there are no headers, and that is all
	}
}

// ask is the request to p's meter, all but its size.
func (g *Gate) ask(p *Pass) limiter.Ask {
	boot, counted := g.cfg.BootIndex, p.Record.Counted()
	return limiter.Ask{
		CountedFrom: g.countedFrom, Shared: g.cfg.Shared,
		Account: p.Account.Limit[p.Record.Type], AccountFresh: p.Account.Created > boot,
		Key: string(counted.ID), Own: p.Record.Limit, KeyFresh: counted.Created > boot,
		Budget: int64(p.Record.Budget),
	}
}

func (g *Gate) take(ctx context.Context, p *Pass, a *limiter.Ask, now time.Time) *fault.Error {
	meter := p.Record.Account.Meters[p.Record.Type]
	_, mono := g.cfg.Clock()
	a.Now, a.Wall, a.Refilled = mono, now.UnixNano(), g.refilled(mono)
	a.Lend = g.cfg.Alone != nil && g.cfg.Alone()
	if g.cfg.Sharing != nil && !g.share(ctx, p, a) {
		return notReady()
	}
	p.Limits = meter.Take(a)
	if p.Limits.NWants > 0 || p.Limits.Rules != nil && len(p.Limits.Rules.Wants) > 0 {
		g.extend(ctx, meter, p, a)
	}
	if a.Pool != nil {
		if p.Limits.NShort > 0 || p.Limits.Rules != nil {
			g.gather(ctx, meter, p, a)
		}
		if p.Limits.NLow > 0 || p.Limits.Rules != nil {
			g.cfg.Sharing.Ahead(p.Limits.RunLow())
		}
	}
	switch d := &p.Limits; {
	case d.Allowed:
		return nil
	case d.Pending:
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1,
			Message: "This month's count could not be read or extended in time; nothing was charged."}
	default:
		return refused(d, a)
	}
}

// extend passes p's wants to the granter. If the request is decided already, it
// does not wait for the answer; if not, it waits and asks the meter again. It is
// apart from take because its arguments live on the heap.
func (g *Gate) extend(ctx context.Context, meter *limiter.Meter, p *Pass, a *limiter.Ask) {
	var cancel context.CancelFunc
	for round := 0; ; round++ {
		wants := slices.Clone(p.Limits.Wants[:p.Limits.NWants])
		if r := p.Limits.Rules; r != nil {
			wants = append(wants, r.Wants...)
		}
		if len(wants) == 0 {
			return
		}
		if !p.Limits.Pending {
			g.cfg.Grants.Ask(p.Account.ID, p.Record, wants)
			return
		}
		if round == chargeRounds {
			return
		}
		if cancel == nil {
			ctx, cancel = context.WithTimeout(ctx, chargeWait)
			defer cancel()
		}
		g.cfg.Grants.Await(ctx, p.Account.ID, p.Record, wants)
		if ctx.Err() != nil {
			return
		}
		now, mono := g.cfg.Clock()
		a.Now, a.Wall, a.Refilled = mono, now.UnixNano(), g.refilled(mono)
		p.Limits = meter.Take(a)
	}
}

// refilled is [limiter.Ask.Refilled] at the monotonic time now.
func (g *Gate) refilled(now int64) int64 {
	if g.cfg.BootIndex == 0 {
		return limiter.Forever // this process is the first that ever charged anything
	}
	if since := now - g.cfg.Since; since < ages {
		return max(0, since)
	}
	return limiter.Forever // after clean stops only
}

// ages is a time, in nanoseconds, that no process runs: 73 years.
const ages = 1 << 61

// refused is the fault of a refusal of a. The wait is the same in header and body, since
// both are written from it. There is none where no wait helps.
func refused(d *limiter.Decision, a *limiter.Ask) *fault.Error {
	f := &fault.Error{Code: fault.RequestsPerMinute, RetryAfter: d.RetryAfter}
	f.Policy, _, _ = d.Refusal()
	switch d.Denied {
	case limiter.MonthQuota:
		f.Code = fault.RequestsPerMonth
	case limiter.KeyMinute:
		f.Message = "You have exceeded your rate limit: the key's own requests per minute"
	case limiter.KeyMonth:
		f.Code = fault.RequestsPerMonth
		f.Message = "You have exceeded your rate limit: the key's own requests per month are used up"
	case limiter.RuleBucket, limiter.RuleDay, limiter.RuleMonth:
		f.Code = fault.LimitRule
		f.Message = fmt.Sprintf("You have exceeded your rate limit: the rule %q allows %d per %s", f.Policy, d.Rules.Denied.Limit, windowWords[d.Rules.Denied.Window])
	case limiter.Budget:
		// No Retry-After: clients that obey it by themselves would sleep until the
		// month turns, and a budget is raised by hand.
		f = &fault.Error{Code: fault.BudgetExceeded, Policy: f.Policy}
		if d.Never {
			f.Message = fmt.Sprintf("One such call reserves %s, more than the key's whole monthly budget of %s.",
				store.Money(a.Reserve).AppendDecimal(nil), store.Money(a.Budget).AppendDecimal(nil))
		}
		return f
	}
	if d.Never {
		f.RetryAfter = 0
		f.Message = fmt.Sprintf("You have exceeded your rate limit: one such request costs %d units, and the policy %q never holds more than %d; no wait helps", a.Units, f.Policy, a.Most(d))
	}
	return f
}

var windowWords = [...]string{limiter.EachMinute: "minute", limiter.EachHour: "hour", limiter.EachDay: "day", limiter.EachMonth: "month"}

// Settle replaces the reserve that Charge took from the key's budget by the cost
// of the request, once that is known.
func (g *Gate) Settle(p *Pass, reserve, actual store.Money) {
	if p.Record == nil || p.Record.Budget == 0 || reserve == actual {
		return
	}
	meter := p.Record.Account.Meters[p.Record.Type]
	if w := meter.Settle(string(p.Record.Counted().ID), p.Limits.Month, int64(reserve), int64(actual)); w.Units != 0 || w.Give {
		g.cfg.Grants.Ask(p.Account.ID, p.Record, []limiter.Want{w})
	}
}

// Refund gives back all of a charge but the minute's, of a request that reached no
// upstream or is refused for its body.
func (g *Gate) Refund(p *Pass, units int64, reserve store.Money) {
	if p.Record == nil {
		return
	}
	meter := p.Record.Account.Meters[p.Record.Type]
	if wants := meter.Refund(string(p.Record.Counted().ID), p.Limits.Month, units, int64(reserve)); len(wants) > 0 {
		g.cfg.Grants.Ask(p.Account.ID, p.Record, wants)
	}
	if wants := meter.RefundRules(&p.Limits, p.counted, units); len(wants) > 0 {
		g.cfg.Grants.Ask(p.Account.ID, p.Record, wants)
	}
}

// A body that turns out too large or malformed is refunded though an upstream may have a
// part of it. Without a bound, a client could have upstreams work for nothing: they may act
// on the part that they have, and ending a body badly costs the client no more than hanging
// up. The bound is the account's on this node, since an account may have any number of keys.
const (
	forgiven         = 10        // refunds in a row
	forgivenFor      = time.Hour // in which an account regains all of them
	forgivenAccounts = 1 << 14   // with refused bodies lately, some 80 bytes each; no others are refunded
)

// Forgive takes one of the refunds of refused bodies that p's account has left, and
// reports whether there was one.
func (g *Gate) Forgive(p *Pass) bool {
	if p.Record == nil {
		return false
	}
	_, mono := g.cfg.Clock()
	name, pace := limiter.NameOf("malformed", string(p.Account.ID)), limiter.Pace{Limit: forgiven, Window: int64(forgivenFor)}
	return g.malformed.Take(name, pace, 1, mono, limiter.Forever).Allowed
}
