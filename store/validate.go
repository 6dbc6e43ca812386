package store

import (
	"slices"
	"strings"
)

// Bounds that apply enforces in addition to the proposer's checks: rows stay
// small, and identifiers fit into rows.
const (
	maxID   = 64
	maxName = 1_000
	maxText = 2_000 // notes, reasons, one metadata value: 500 characters of any script
	maxWord = 512   // one scope or route
)

// invalid answers that field has a value that cannot be.
func invalid(field, format string, args ...any) Result {
	r := refuse(InvalidValue, field+": "+format, args...)
	r.Refusal.Field = field
	return r
}

// validID reports whether s can be part of a row: letters, digits, "_" and "-".
func validID[S ~string](s S) bool {
	if len(s) == 0 || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// normalizeKey checks a key's settings and brings lists into their one form.
func normalizeKey(k *Key) *Refusal {
	switch {
	case !validID(k.ID):
		return invalid("id", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID).Refusal
	case k.Hash == Hash{}:
		return invalid("hash", "it is missing").Refusal
	case k.Type >= keyTypes:
		return invalid("type", "it must be test or live").Refusal
	case len(k.Name) > maxName:
		return invalid("name", "it is longer than %d bytes", maxName).Refusal
	case len(k.Environment) > maxName:
		return invalid("environment", "it is longer than %d bytes", maxName).Refusal
	case len(k.Hint) > maxText || len(k.CreatedBy) > maxText:
		return invalid("hint", "it is longer than %d bytes", maxText).Refusal
	case len(k.Scopes) > MaxScopes || longest(k.Scopes) > maxWord:
		return invalid("scopes", "there may be %d of up to %d bytes", MaxScopes, maxWord).Refusal
	case len(k.Routes) > MaxRoutes || longest(k.Routes) > maxWord:
		return invalid("routes", "there may be %d of up to %d bytes", MaxRoutes, maxWord).Refusal
	case len(k.Allowlist) > MaxKeyPrefixes:
		return invalid("allowlist", "there may be %d entries", MaxKeyPrefixes).Refusal
	case len(k.Metadata) > MaxMetadata:
		return invalid("metadata", "there may be %d pairs", MaxMetadata).Refusal
	case k.MaxCostPerCall != nil && (*k.MaxCostPerCall < 1 || *k.MaxCostPerCall > MaxAmount):
		return invalid("max_cost_per_call", "it must be more than 0").Refusal
	case k.MonthlyBudget != nil && (*k.MonthlyBudget < 1 || *k.MonthlyBudget > MaxAmount):
		return invalid("monthly_budget", "it must be more than 0").Refusal
	}
	for name, v := range k.Metadata {
		if len(name) > maxText || len(v) > maxText {
			return invalid("metadata", "names and values may have %d bytes", maxText).Refusal
		}
	}
	if r := checkLimits("limits", k.Limits); r != nil {
		return r
	}
	k.Scopes = slices.Compact(slices.Sorted(slices.Values(k.Scopes)))
	list := slices.Clone(k.Allowlist)
	for i := range list {
		p, ok := canonical(list[i])
		if !ok {
			return invalid("allowlist", "entry %d is not an address or a CIDR", i+1).Refusal
		}
		list[i] = p
	}
	k.Allowlist = list
	return nil
}

func longest(list []string) (n int) {
	for _, s := range list {
		n = max(n, len(s))
	}
	return n
}

// checkLimits refuses zero: it would mean "no limit" to the limiter, and
// its writer means the opposite. Disabling a key is the way to stop it.
func checkLimits(field string, l *Limits) *Refusal {
	if l == nil {
		return nil
	}
	for _, f := range [...]struct {
		name string
		n    *int64
	}{{"requests_per_minute", l.PerMinute}, {"burst", l.Burst}, {"requests_per_month", l.PerMonth}, {"max_concurrent", l.MaxConcurrent}} {
		if f.n != nil && (*f.n < 1 || *f.n > MaxRequests) {
			return invalid(strings.TrimPrefix(field+"."+f.name, "."), "it must be 1 or more").Refusal
		}
	}
	return nil
}

func checkTier(tier *Tier) *Refusal {
	if !validID(tier.Name) {
		return invalid("name", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID).Refusal
	}
	if r := checkLimits("live", &tier.Live); r != nil {
		return r
	}
	if r := checkLimits("test", &tier.Test); r != nil {
		return r
	}
	return checkRules(tier.Rules)
}

// checkAccount checks a; tier is its tier, nil if there is none.
func checkAccount(a *Account, tier *Tier) *Refusal {
	switch {
	case !validID(a.ID):
		return invalid("id", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID).Refusal
	case tier == nil:
		return invalid("tier", "there is no tier %q", a.Tier).Refusal
	case len(a.Name) > maxName:
		return invalid("name", "it is longer than %d bytes", maxName).Refusal
	case len(a.Region) > maxName:
		return invalid("region", "it is longer than %d bytes", maxName).Refusal
	case a.BrowserKeys != BrowserAllow && a.BrowserKeys != BrowserAlert && a.BrowserKeys != BrowserBlock:
		return invalid("browser_keys", "it must be allow, alert or block").Refusal
	case a.RetentionDays < MinRetention || a.RetentionDays > MaxRetention:
		return invalid("retention_days", "it must be %d to %d", MinRetention, MaxRetention).Refusal
	case len(a.Alerts) > MaxAlerts:
		return invalid("alert_thresholds", "there may be %d", MaxAlerts).Refusal
	}
	for _, percent := range a.Alerts {
		if percent < 1 || percent > 100 {
			return invalid("alert_thresholds", "each must be 1 to 100 percent").Refusal
		}
	}
	if r := checkLimits("limits", a.Limits); r != nil {
		return r
	}
	if r := checkLimits("test_limits", a.TestLimits); r != nil {
		return r
	}
	if r := checkPolicy(a.KeyPolicy); r != nil {
		return r
	}
	if r := checkRules(a.Rules); r != nil {
		return r
	}
	if n := rulesOf(a.Rules, tier); n > MaxRules {
		return invalid("limit_rules", "there would be %d with those of the tier %q, and there may be %d", n, tier.Name, MaxRules).Refusal
	}
	return nil
}
