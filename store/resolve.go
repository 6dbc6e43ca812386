package store

import (
	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/limiter"
)

// newState resolves the part of an account that admission reads.
func (c *ruleCompiler) newState(a *Account, tier *Tier, allow *bart.Lite) *AccountState {
	return &AccountState{
		Account:   *a,
		Limit:     resolve(a, tier),
		RuleSets:  c.sets(a, tier),
		Allowlist: allow,
		Features:  Features{IPAllowlist: tier.IPAllowlist},

		MaxConcurrent: resolveConcurrent(a, tier),
	}
}

// resolveConcurrent works out the bound on the requests in flight of each key: the
// account's, else the tier's; of test keys their own, else that of live keys.
func resolveConcurrent(a *Account, tier *Tier) (out [keyTypes]int64) {
	for _, l := range []*Limits{&tier.Live, a.Limits} {
		if l != nil && l.MaxConcurrent != nil {
			out[Live] = *l.MaxConcurrent
		}
	}
	out[Test] = out[Live]
	for _, l := range []*Limits{&tier.Test, a.TestLimits} {
		if l != nil && l.MaxConcurrent != nil {
			out[Test] = *l.MaxConcurrent
		}
	}
	return out
}

// resolve works out an account's limits, field by field: the account's own
// value, else the tier's. A limit of test keys that neither sets derives from the
// resolved live limits: half the minute, the same month. The tiers free and pro
// set their test limits, enterprise does not, so there an account's own live
// limits decide both. A burst that is not set is the minute's limit; one of the
// tier does not outlive an account's own minute. Both are cut to what a bucket enforces.
func resolve(a *Account, tier *Tier) (out [keyTypes]limiter.Limit) {
	out[Live] = override(override(limiter.Limit{}, &tier.Live), a.Limits)
	half := limiter.Limit{PerMinute: out[Live].PerMinute / 2, PerMonth: out[Live].PerMonth}
	if out[Live].PerMinute == 1 {
		half.PerMinute = 1 // 0 would be no limit
	}
	out[Test] = override(override(half, &tier.Test), a.TestLimits)
	for i := range out {
		if out[i].Burst == 0 {
			out[i].Burst = out[i].PerMinute
		}
		out[i] = out[i].Bounded()
	}
	return out
}

// TestLimits are the limits that t gives test keys of accounts without limits of
// their own: a limit that t leaves open derives from its live limits, as in resolve.
func (t *Tier) TestLimits() Limits {
	l := t.Test
	if l.PerMinute == nil && t.Live.PerMinute != nil {
		half := max(1, *t.Live.PerMinute/2)
		l.PerMinute = &half
	}
	if l.PerMonth == nil {
		l.PerMonth = t.Live.PerMonth
	}
	if l.MaxConcurrent == nil {
		l.MaxConcurrent = t.Live.MaxConcurrent
	}
	return l
}

func override(base limiter.Limit, l *Limits) limiter.Limit {
	if l == nil {
		return base
	}
	if l.PerMinute != nil {
		base.PerMinute, base.Burst = *l.PerMinute, 0
	}
	if l.Burst != nil {
		base.Burst = *l.Burst
	}
	if l.PerMonth != nil {
		base.PerMonth = *l.PerMonth
	}
	return base
}

// builtinTiers are the tiers that every cluster begins with; they may be
// changed, not deleted.
func builtinTiers() []Tier {
	limits := func(minute, month int64) Limits { return Limits{PerMinute: &minute, PerMonth: &month} }
	return []Tier{
		{Name: "free", Live: limits(60, 1_000), Test: limits(30, 1_000)},
		{Name: "pro", Live: limits(300, 100_000), Test: limits(150, 100_000)},
		{Name: "enterprise", Live: limits(3_000, 10_000_000), IPAllowlist: true},
	}
}

func builtinTier(name string) bool {
	for _, t := range builtinTiers() {
		if t.Name == name {
			return true
		}
	}
	return false
}
