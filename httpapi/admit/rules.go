package admit

import (
	"fmt"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// matching says of which requests the rules are asked for.
type matching uint8

const (
	thisRequest matching = iota
	anyRequest           // of the key, whatever their route
	ofAccount            // of all keys of the type: rules per key are left out
)

// addRules adds the rules of p's account that apply to p's request to a. A rule that has
// ended by itself is left out, and so is one for a route where the path is not known.
func (g *Gate) addRules(p *Pass, a *limiter.Ask, m matching) *fault.Error {
	set := &p.Account.RuleSets[p.Record.Type]
	if len(set.List) == 0 {
		return nil
	}
	var detail store.Detail
	if set.Keyed && m != ofAccount {
		d, err := g.cfg.Store.Detail(p.Record)
		if err != nil {
			return fault.Wrap(fault.Unavailable, fmt.Errorf("read the details of a key: %w", err))
		}
		detail = *d
		// Its limits of its own, if it has any, are counted by the same lineage.
		a.Key, a.KeyFresh = string(d.Counted.ID), d.Counted.Created > g.cfg.BootIndex
	}
	now, _ := g.cfg.Clock()
	for i := range set.List {
		r := &set.List[i]
		if !applies(r, p, &detail, m, now) {
			continue
		}
		if a.Rules == nil {
			a.Rules = make([]limiter.RuleAsk, 0, len(set.List))
		}
		fresh := r.Created > g.cfg.BootIndex || a.AccountFresh || r.PerKey && a.KeyFresh
		made := p.Account.Created
		if r.PerKey {
			made = detail.Counted.Created
		}
		a.Rules = append(a.Rules, limiter.RuleAsk{Rule: &r.Rule, Fresh: fresh, Created: made})
	}
	p.counted = a.Key
	return nil
}

func applies(r *store.Rule, p *Pass, detail *store.Detail, m matching, now time.Time) bool {
	switch {
	case r.Until != 0 && now.UnixNano() >= r.Until:
		return false
	case m == ofAccount:
		return !r.PerKey
	case r.Environment != nil && *r.Environment != detail.Environment:
		return false
	case r.Routes == nil || m == anyRequest:
		return true
	}
	return p.path != "" && r.Routes.Allow(p.method, p.path, p.route)
}

// Would lists the names of the shadow rules that would have refused the request of p,
// which passed.
func (p *Pass) Would() (names []string) {
	if p.Limits.Rules == nil || !p.Limits.Allowed {
		return nil
	}
	for i := range p.Limits.Rules.States {
		if s := &p.Limits.Rules.States[i]; s.Would {
			names = append(names, s.Rule.Name)
		}
	}
	return names
}

// EventLimits are the policies that refused p's request, with the fault f, or would have;
// nil if there are none.
func (p *Pass) EventLimits(f *fault.Error) *store.EventLimits {
	would := p.Would()
	if would == nil && (f == nil || f.Policy == "") {
		return nil
	}
	l := &store.EventLimits{WouldRefuse: would}
	if f != nil && f.Policy != "" {
		l.Policy, l.Limit, l.Left = p.Limits.Refusal()
		if s := p.Limits.Refused(); s != nil && s.Shared {
			l.Shared = &store.EventShare{Here: s.Here, Elsewhere: max(s.Remaining-s.Here, 0), Asked: p.asked}
		}
	}
	return l
}

// enter counts p's request among those of its key that are in flight here, if the key or
// its account has a bound on them.
func (g *Gate) enter(p *Pass) *fault.Error {
	most := p.Record.MaxConcurrent
	if most == 0 {
		most = p.Account.MaxConcurrent[p.Record.Type]
	}
	if most == 0 {
		return nil
	}
	if !g.inFlight.Enter(string(p.Record.Counted().ID), most) {
		return &fault.Error{Code: fault.TooManyInFlight, RetryAfter: 1}
	}
	p.inFlight = true
	return nil
}

// Leave ends p's part in the requests in flight. It is called once the request is over,
// however it ended; a second call does nothing. It is not safe for concurrent use with
// itself and [Gate.Charge] on the same pass.
func (g *Gate) Leave(p *Pass) {
	if p.inFlight {
		p.inFlight = false
		g.inFlight.Leave(string(p.Record.Counted().ID))
	}
}

// InFlight is the number of requests in flight here of keys with a bound on them.
func (g *Gate) InFlight() int64 { return g.inFlight.Len() }
