package store

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// list makes n different texts.
func list(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("s%d", i)
	}
	return out
}

func pairs(n int) map[string]string {
	m := map[string]string{}
	for _, s := range list(n) {
		m[s] = s
	}
	return m
}

// Each bound of a key holds in apply, for creation, update and import alike: the
// largest value is accepted, the next one refused with the field's name.
func TestKeyBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		field     string
		good, bad func(*Key)
	}{
		{"name", func(k *Key) { k.Name = long(maxName) }, func(k *Key) { k.Name = long(maxName + 1) }},
		{"environment", func(k *Key) { k.Environment = long(maxName) }, func(k *Key) { k.Environment = long(maxName + 1) }},
		{"scopes", func(k *Key) { k.Scopes = list(MaxScopes) }, func(k *Key) { k.Scopes = list(MaxScopes + 1) }},
		{"scopes", func(k *Key) { k.Scopes = []string{long(maxWord)} }, func(k *Key) { k.Scopes = []string{long(maxWord + 1)} }},
		{"routes", func(k *Key) { k.Routes = list(MaxRoutes) }, func(k *Key) { k.Routes = list(MaxRoutes + 1) }},
		{"routes", func(k *Key) { k.Routes = []string{long(maxWord)} }, func(k *Key) { k.Routes = []string{long(maxWord + 1)} }},
		{"allowlist", func(k *Key) { k.Allowlist = slices.Repeat(newKeyAllow, MaxKeyPrefixes) }, func(k *Key) { k.Allowlist = slices.Repeat(newKeyAllow, MaxKeyPrefixes+1) }},
		{"metadata", func(k *Key) { k.Metadata = pairs(MaxMetadata) }, func(k *Key) { k.Metadata = pairs(MaxMetadata + 1) }},
		{"metadata", func(k *Key) { k.Metadata = map[string]string{long(maxText): long(maxText)} }, func(k *Key) { k.Metadata = map[string]string{"a": long(maxText + 1)} }},
		{"metadata", func(k *Key) {}, func(k *Key) { k.Metadata = map[string]string{long(maxText + 1): "a"} }},
		{"max_cost_per_call", func(k *Key) { k.MaxCostPerCall = ptr(MaxAmount) }, func(k *Key) { k.MaxCostPerCall = ptr(MaxAmount + 1) }},
		{"max_cost_per_call", func(k *Key) { k.MaxCostPerCall = ptr(Money(1)) }, func(k *Key) { k.MaxCostPerCall = ptr(Money(0)) }},
		{"monthly_budget", func(k *Key) { k.MonthlyBudget = ptr(MaxAmount) }, func(k *Key) { k.MonthlyBudget = ptr(MaxAmount + 1) }},
		{"monthly_budget", func(k *Key) { k.MonthlyBudget = ptr(Money(1)) }, func(k *Key) { k.MonthlyBudget = ptr(Money(-1)) }},
		{"limits.requests_per_minute", func(k *Key) { k.Limits = limitOf(MaxRequests, 1) }, func(k *Key) { k.Limits = limitOf(MaxRequests+1, 1) }},
		{"limits.requests_per_month", func(k *Key) { k.Limits = limitOf(1, MaxRequests) }, func(k *Key) { k.Limits = limitOf(1, 0) }},
		{"limits.burst", func(k *Key) { k.Limits = &Limits{Burst: ptr(int64(1))} }, func(k *Key) { k.Limits = &Limits{Burst: ptr(int64(-1))} }},
	} {
		h := begun(t)
		good, bad, one := newKey("good"), newKey("bad"), newKey("one")
		tc.good(&good)
		tc.bad(&bad)
		h.must(&Command{Change: &KeyCreate{Key: good}})
		if r := h.refused(InvalidValue, &Command{Change: &KeyCreate{Key: bad}}); r.Field != tc.field {
			t.Errorf("%s: the refusal of a creation names %q", tc.field, r.Field)
		}
		h.must(&Command{Change: &KeyCreate{Key: one}})
		update := func(k *Key) *Command {
			return &Command{Change: &KeyUpdate{ID: "key_one", Name: &k.Name, Environment: &k.Environment, Scopes: &k.Scopes, Routes: &k.Routes,
				Allowlist: &k.Allowlist, Metadata: &k.Metadata, Limits: k.Limits, MaxCostPerCall: k.MaxCostPerCall, MonthlyBudget: k.MonthlyBudget}}
		}
		h.must(update(&good))
		if r := h.refused(InvalidValue, update(&bad)); r.Field != tc.field {
			t.Errorf("%s: the refusal of an update names %q", tc.field, r.Field)
		}
		lines := h.must(&Command{Change: &KeyImport{Keys: []Key{bad}}}).Lines
		if len(lines) != 1 || lines[0].ID != "" || !strings.HasPrefix(lines[0].Error, tc.field+": ") {
			t.Errorf("%s: an import answers %+v", tc.field, lines)
		}
	}
}

var newKeyAllow = prefixes("192.0.2.0/24")

func prefixes(cidrs ...string) (list []netip.Prefix) {
	for _, c := range cidrs {
		list = append(list, netip.MustParsePrefix(c))
	}
	return list
}

// Each bound of an account holds, at its creation and at a change.
func TestAccountBounds(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	for _, tc := range []struct {
		field string
		a     Account
		u     AccountUpdate
	}{
		{"name", Account{Name: long}, AccountUpdate{Name: &long}},
		{"region", Account{Region: long}, AccountUpdate{Region: &long}},
		{"tier", Account{Tier: "none"}, AccountUpdate{Tier: ptr("none")}},
		{"browser_keys", Account{BrowserKeys: "maybe"}, AccountUpdate{BrowserKeys: ptr(BrowserKeys("maybe"))}},
		{"retention_days", Account{RetentionDays: MinRetention - 1}, AccountUpdate{RetentionDays: ptr(MinRetention - 1)}},
		{"retention_days", Account{RetentionDays: MaxRetention + 1}, AccountUpdate{RetentionDays: ptr(MaxRetention + 1)}},
		{"alert_thresholds", Account{Alerts: make([]int, MaxAlerts+1)}, AccountUpdate{Alerts: ptr(make([]int, MaxAlerts+1))}},
		{"alert_thresholds", Account{Alerts: []int{0}}, AccountUpdate{Alerts: &[]int{0}}},
		{"alert_thresholds", Account{Alerts: []int{101}}, AccountUpdate{Alerts: &[]int{101}}},
		{"limits.requests_per_minute", Account{Limits: limitOf(0, 1)}, AccountUpdate{Limits: limitOf(0, 1)}},
		{"test_limits.requests_per_month", Account{TestLimits: limitOf(1, MaxRequests+1)}, AccountUpdate{TestLimits: limitOf(1, MaxRequests+1)}},
		{"clear", Account{ID: "", Name: ""}, AccountUpdate{Clear: []string{"name"}}},
	} {
		if tc.field != "clear" {
			tc.a.ID = "acct_b"
			if r := h.refused(InvalidValue, &Command{Change: &AccountCreate{Account: tc.a}}); r.Field != tc.field {
				t.Errorf("%s: the refusal of a creation names %q", tc.field, r.Field)
			}
		}
		if r := h.refused(InvalidValue, &Command{Account: "acct_a", Change: &tc.u}); r.Field != tc.field {
			t.Errorf("%s: the refusal of an update names %q", tc.field, r.Field)
		}
	}
	h.must(&Command{Account: "acct_a", Change: &AccountUpdate{RetentionDays: ptr(MaxRetention), Alerts: &[]int{1, 100}, Name: ptr(long[1:])}})
	for _, id := range []AccountID{"", "a b", "a/b", "a\x00b", AccountID(strings.Repeat("a", maxID+1)), "ä"} {
		if r := h.refused(InvalidValue, &Command{Change: &AccountCreate{Account: Account{ID: id}}}); r.Field != "id" {
			t.Errorf("the refusal of the id %q names %q", id, r.Field)
		}
	}
}
