package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/limiter"
)

func TestRuleNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "Chat.v2_per-key": true, strings.Repeat("x", 64): true, "minutes": true, "rule": true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a/b": false, `a"`: false, "ä": false,
		"minute": false, "month": false, "key-minute": false, "key-month": false, "budget": false,
	} {
		if got := ValidRuleName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func rules(n int, prefix string) (out []LimitRule) {
	for i := range n {
		out = append(out, LimitRule{Name: fmt.Sprint(prefix, i), Per: PerAccount, Requests: 5, Window: limiter.EachDay})
	}
	return out
}

// An account has its tier's rules and its own, sixteen at most, however either changes.
func TestNumberOfRules(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountUpdate{Rules: ptr(rules(16, "a"))}})
	h.refused(InvalidValue, &Command{Change: &AccountUpdate{Rules: ptr(rules(17, "a"))}})
	free := *h.Tier("free")
	free.Rules = rules(1, "t")
	h.refused(Conflict, &Command{Change: &TierPut{Tier: free}})
	free.Rules = rules(1, "a") // the account's own replaces it
	h.must(&Command{Change: &TierPut{Tier: free}})
	h.must(&Command{Change: &AccountUpdate{Rules: ptr(rules(10, "b"))}})
	free.Rules = rules(6, "t")
	h.must(&Command{Change: &TierPut{Tier: free}})
	h.refused(InvalidValue, &Command{Change: &AccountUpdate{Rules: ptr(rules(11, "b"))}})
	if n := len(h.Cell(DefaultAccount).Load().RuleSets[Live].List); n != 16 {
		t.Errorf("%d rules", n)
	}
	gold := free
	gold.Name, gold.Rules = "gold", rules(7, "t")
	h.must(&Command{Change: &TierPut{Tier: gold}})
	h.refused(InvalidValue, &Command{Change: &AccountUpdate{Tier: ptr("gold")}})
}

// A rule goes on with the count of an earlier one of the same name, window and owner;
// another count begins where its rule does.
func TestSinceWhenACountExists(t *testing.T) {
	h := begun(t)
	set := func(list ...LimitRule) uint64 {
		return h.must(&Command{Change: &AccountUpdate{Rules: &list}}).Index
	}
	created := func() (out []uint64) {
		for _, r := range h.Cell(DefaultAccount).Load().RuleSets[Live].List {
			out = append(out, r.Created)
		}
		return out
	}
	a := LimitRule{Name: "a", Per: PerAccount, Requests: 5, Window: limiter.EachHour}
	first := set(a)
	a.Requests, a.Match.Environment = 6, ptr("production")
	b := a
	b.Name = "b"
	second := set(a, b)
	if got := fmt.Sprint(created()); got != fmt.Sprint([]uint64{first, second}) {
		t.Errorf("created at %s, want %d and %d", got, first, second)
	}
	a.Per = PerKey
	third := set(a, b)
	h.reopen()
	if got := fmt.Sprint(created()); got != fmt.Sprint([]uint64{third, second}) {
		t.Errorf("created at %s, want %d and %d", got, third, second)
	}
}

// Admission sees the rules of each type, with all that it needs to match them.
func TestRuleSets(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountUpdate{Rules: &[]LimitRule{
		{Name: "live", Match: RuleMatch{Type: ptr(Live)}, Per: PerAccount, Requests: 5, Window: limiter.EachMinute, Burst: ptr(int64(2))},
		{Name: "test", Match: RuleMatch{Type: ptr(Test), Environment: ptr("ci")}, Per: PerAccount, Requests: 5, Window: limiter.EachMonth, Shadow: true, Until: epoch},
	}}})
	sets := h.Cell(DefaultAccount).Load().RuleSets
	live, test := sets[Live], sets[Test]
	if len(live.List) != 1 || live.Keyed || live.List[0].Rule != (limiter.Rule{Name: "live", Limit: 5, Burst: 2}) {
		t.Errorf("live: %+v", live)
	}
	if len(test.List) != 1 || !test.Keyed || !test.List[0].Shadow || test.List[0].Until != epoch.UnixNano() || *test.List[0].Environment != "ci" {
		t.Errorf("test: %+v", test)
	}
}

// Counts by the day are kept while clocks may be off, and removed then.
func TestDaysAreRemoved(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountUpdate{Rules: &[]LimitRule{{Name: "r", Per: PerAccount, Requests: 5, Window: limiter.EachDay}}}})
	first := Day(h.at)
	for i := range 8 {
		h.must(&Command{Change: &Grant{Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Rule: "r", Day: Day(h.at), Want: 2}}}})
		for d := first; d <= first+i; d++ {
			want := int64(2)
			if d < first+i-daysKept {
				want = 0
			}
			if n, err := h.GrantedOf(GrantAsk{Account: DefaultAccount, Type: Live, Rule: "r", Day: d}); err != nil || n != want {
				t.Errorf("on day %d, day %d has %d, %v; want %d", i, d-first, n, err, want)
			}
		}
		h.at = h.at.Add(24 * time.Hour)
	}
}

// A key's detail is that of its newest record, and its count is that of its lineage.
func TestDetail(t *testing.T) {
	h := begun(t)
	k := newKey("a")
	k.Environment = "staging"
	h.must(&Command{Change: &KeyCreate{Key: k}})
	detail := func(hash Hash) Detail {
		t.Helper()
		r, err := h.Lookup(hash)
		if err != nil || r == nil {
			t.Fatal(r, err)
		}
		d, err := h.Detail(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := h.Detail(r); err != nil || again != d {
			t.Errorf("read twice: %v", err)
		}
		return *d
	}
	if d := detail(k.Hash); d.Environment != "staging" || d.Counted.ID != k.ID {
		t.Errorf("%+v", d)
	}
	h.must(&Command{Change: &KeyUpdate{ID: k.ID, Environment: ptr("production")}})
	if d := detail(k.Hash); d.Environment != "production" {
		t.Errorf("after the change: %+v", d)
	}
	h.must(&Command{Change: &KeyRotate{ID: k.ID, New: "key_b", Hash: hashOf("b"), Hint: "h", Counts: true}})
	if d := detail(hashOf("b")); d.Environment != "production" || d.Counted.ID != k.ID {
		t.Errorf("after the rotation: %+v", d)
	}
}

// The bound on requests in flight is the key's, else the account's, else the tier's.
func TestBoundOnRequestsInFlight(t *testing.T) {
	h := begun(t)
	free := *h.Tier("free")
	free.Live.MaxConcurrent, free.Test.MaxConcurrent = ptr(int64(9)), ptr(int64(4))
	h.must(&Command{Change: &TierPut{Tier: free}})
	bounds := func() [keyTypes]int64 { return h.Cell(DefaultAccount).Load().MaxConcurrent }
	if got := bounds(); got[Live] != 9 || got[Test] != 4 {
		t.Errorf("of the tier: %v", got)
	}
	h.must(&Command{Change: &AccountUpdate{Limits: &Limits{MaxConcurrent: ptr(int64(7))}}})
	if got := bounds(); got[Live] != 7 || got[Test] != 4 {
		t.Errorf("of the account: %v", got)
	}
	k := newKey("a")
	k.Limits = &Limits{MaxConcurrent: ptr(int64(2))}
	h.must(&Command{Change: &KeyCreate{Key: k}})
	h.reopen()
	if r, err := h.Lookup(k.Hash); err != nil || r.MaxConcurrent != 2 {
		t.Errorf("of the key: %+v, %v", r.Extra, err)
	}
	h.refused(InvalidValue, &Command{Change: &KeyUpdate{ID: k.ID, Limits: &Limits{MaxConcurrent: ptr(int64(0))}}})
}
