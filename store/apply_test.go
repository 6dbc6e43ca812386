package store

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/limiter"
)

func limitOf(minute, month int64) *Limits { return &Limits{PerMinute: &minute, PerMonth: &month} }

func TestLimitsAreResolved(t *testing.T) {
	tiers := map[string]Tier{}
	for _, tier := range builtinTiers() {
		tiers[tier.Name] = tier
	}
	lim := func(minute, burst, month int64) limiter.Limit {
		return limiter.Limit{PerMinute: minute, Burst: burst, PerMonth: month}
	}
	for _, tc := range []struct {
		name       string
		account    Account
		live, test limiter.Limit
	}{
		{"free", Account{Tier: "free"}, lim(60, 60, 1_000), lim(30, 30, 1_000)},
		{"pro", Account{Tier: "pro"}, lim(300, 300, 100_000), lim(150, 150, 100_000)},
		{"enterprise", Account{Tier: "enterprise"}, lim(3000, 3000, 10_000_000), lim(1500, 1500, 10_000_000)},
		{"enterprise, custom", Account{Tier: "enterprise", Limits: limitOf(6000, 5_000_000)}, lim(6000, 6000, 5_000_000), lim(3000, 3000, 5_000_000)},
		{"pro, custom: test stays the tier's", Account{Tier: "pro", Limits: limitOf(6000, 5_000_000)}, lim(6000, 6000, 5_000_000), lim(150, 150, 100_000)},
		{"own burst", Account{Tier: "free", Limits: &Limits{Burst: ptr(int64(5))}}, lim(60, 5, 1_000), lim(30, 30, 1_000)},
		{"own test limits", Account{Tier: "free", TestLimits: limitOf(7, 8)}, lim(60, 60, 1_000), lim(7, 7, 8)},
		{"half of one is one", Account{Tier: "enterprise", Limits: limitOf(1, 1)}, lim(1, 1, 1), lim(1, 1, 1)},
	} {
		tier := tiers[tc.account.Tier]
		got := resolve(&tc.account, &tier)
		if got[Live] != tc.live || got[Test] != tc.test {
			t.Errorf("%s: live %+v, test %+v", tc.name, got[Live], got[Test])
		}
	}
}

func TestAccountsAndTiers(t *testing.T) {
	h := begun(t)
	h.refused(InvalidValue, &Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Tier: "none"}}})
	a := h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "Acme", Tier: "pro"}}}).Account
	if a.RetentionDays != 30 || a.BrowserKeys != BrowserAlert || a.Modified != h.index {
		t.Fatalf("defaults: %+v", a)
	}
	h.refused(Conflict, &Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	cell := h.Cell("acct_a")
	meter := cell.Meters[Live]
	if cell.Load().Limit[Live].PerMinute != 300 {
		t.Fatalf("limits: %+v", cell.Load().Limit)
	}
	pro := *h.Tier("pro")
	pro.Live.PerMinute = ptr(int64(400))
	h.must(&Command{Change: &TierPut{Tier: pro}})
	if cell.Load().Limit[Live].PerMinute != 400 || h.Cell("acct_a") != cell || cell.Meters[Live] != meter {
		t.Fatal("a tier's change must reach its accounts' cells, in place")
	}
	if h.Cell(DefaultAccount).Load().Limit[Live].PerMinute != 60 {
		t.Fatal("a tier's change reached another tier's account")
	}
	h.refused(Conflict, &Command{Change: &TierPut{Tier: pro, Create: true}})
	h.refused(Conflict, &Command{Change: &TierDelete{Name: "pro"}})
	h.refused(NotFound, &Command{Change: &TierDelete{Name: "gold"}})
	h.must(&Command{Change: &TierPut{Tier: Tier{Name: "gold"}, Create: true}})
	h.must(&Command{Account: "acct_a", Match: a.Modified, Change: &AccountUpdate{Tier: ptr("gold")}})
	h.refused(PreconditionFailed, &Command{Account: "acct_a", Match: a.Modified, Change: &AccountUpdate{Name: ptr("x")}})
	if cell.Load().Limit[Live] != (limiter.Limit{}) {
		t.Fatalf("a tier without limits: %+v", cell.Load().Limit[Live])
	}
	h.refused(Conflict, &Command{Change: &TierDelete{Name: "gold"}})
	h.must(&Command{Account: "acct_a", Change: &AccountUpdate{Tier: ptr("free"), Limits: limitOf(5, 6)}})
	h.must(&Command{Change: &TierDelete{Name: "gold"}})
	h.refused(InvalidValue, &Command{Account: "acct_a", Change: &AccountUpdate{Limits: limitOf(0, 6)}})
	h.refused(InvalidValue, &Command{Account: "acct_a", Change: &AccountUpdate{RetentionDays: ptr(91)}})

	page, next := h.Accounts("", 1)
	if len(page) != 1 || page[0].ID != "acct_a" || next != "acct_a" {
		t.Fatalf("page 1: %v %q", page, next)
	}
	if page, next = h.Accounts(next, 1); len(page) != 1 || page[0].ID != DefaultAccount || next != "" {
		t.Fatalf("page 2: %v %q", page, next)
	}

	h.reopen()
	if got := h.Cell("acct_a").Load(); got.Limit[Live].PerMinute != 5 || got.Limit[Live].PerMonth != 6 {
		t.Fatalf("after a restart: %+v", got.Limit)
	}
	if *h.Tier("pro").Live.PerMinute != 400 || h.BootIndex() != h.index || h.Applied() != h.index {
		t.Fatal("tiers or index did not survive a restart")
	}
}

func TestAllowlist(t *testing.T) {
	h := begun(t)
	set := func(cidrs ...string) *Command {
		c := &AllowlistSet{}
		for _, s := range cidrs {
			c.Entries = append(c.Entries, AllowEntry{CIDR: netip.MustParsePrefix(s)})
		}
		return &Command{Change: c}
	}
	h.refused(FeatureNotInTier, set("203.0.113.0/24"))
	h.must(set())
	h.must(&Command{Change: &AccountUpdate{Tier: ptr("enterprise")}})
	h.must(set("203.0.113.9/24", "::ffff:198.51.100.42/128", "2001:db8::/32"))
	list, modified, err := h.Allowlist(DefaultAccount)
	if err != nil || modified != h.index || list[0].CIDR.String() != "203.0.113.0/24" || list[1].CIDR.String() != "198.51.100.42/32" {
		t.Fatalf("%v %d %v", list, modified, err)
	}
	check := func() {
		t.Helper()
		set := h.Cell(DefaultAccount).Load().Allowlist
		for addr, want := range map[string]bool{"203.0.113.77": true, "198.51.100.42": true, "198.51.100.43": false, "2001:db8::1": true, "::1": false} {
			if set.Lookup(netip.MustParseAddr(addr)) != want {
				t.Errorf("%s allowed: %v", addr, !want)
			}
		}
	}
	check()
	h.must(&Command{Change: &AccountUpdate{Tier: ptr("free")}}) // the list stays in force
	check()
	h.refused(FeatureNotInTier, set("203.0.113.0/24"))
	h.reopen()
	check()
	h.must(set())
	if h.Cell(DefaultAccount).Load().Allowlist != nil {
		t.Error("an empty list must allow every address")
	}
	if list, modified, err := h.Allowlist(DefaultAccount); len(list) != 0 || modified != h.index || err != nil {
		t.Error(list, modified, err)
	}
}

func TestGrants(t *testing.T) {
	h := begun(t)
	k := newKey("a")
	k.Limits, k.MonthlyBudget = limitOf(5, 50), ptr(Money(7))
	h.must(&Command{Change: &KeyCreate{Key: k}})
	month := Month(epoch)
	ask := func(a GrantAsk) Granted {
		t.Helper()
		a.Account = DefaultAccount
		return h.must(&Command{Change: &Grant{Node: "n", Asks: []GrantAsk{a}}}).Granted[0]
	}
	for i, tc := range []struct {
		ask  GrantAsk
		want Granted
	}{
		{GrantAsk{Type: Live, Month: month, Want: 600}, Granted{600, 600}},
		{GrantAsk{Type: Live, Month: month, Want: 600}, Granted{400, 1000}},
		{GrantAsk{Type: Live, Month: month, Want: 600}, Granted{0, 1000}},
		{GrantAsk{Type: Test, Month: month, Want: 600}, Granted{600, 600}}, // test keys never touch live counts
		{GrantAsk{Type: Live, Month: month, Give: 100}, Granted{0, 900}},
		{GrantAsk{Type: Live, Month: month, Give: 5000}, Granted{0, 0}},
		{GrantAsk{Type: Live, Month: month, Want: -5}, Granted{0, 0}},
		{GrantAsk{Type: Live, Month: month + 1, Want: 5}, Granted{5, 5}},
		{GrantAsk{Type: Live, Month: month - 1, Want: 5}, Granted{5, 5}},
		{GrantAsk{Type: Live, Month: month + 2, Want: 5}, Granted{}},
		{GrantAsk{Type: Live, Month: month - 2, Want: 5}, Granted{}},
		{GrantAsk{Type: Live, Key: k.ID, Month: month, Want: 60}, Granted{50, 50}},
		{GrantAsk{Type: Live, Key: k.ID, Budget: true, Month: month, Want: 60}, Granted{7, 7}},
		{GrantAsk{Type: Test, Key: k.ID, Month: month, Want: 60}, Granted{}}, // not its type
		{GrantAsk{Type: Live, Key: "key_none", Month: month, Want: 60}, Granted{}},
	} {
		if got := ask(tc.ask); got != tc.want {
			t.Errorf("ask %d: %+v, want %+v", i, got, tc.want)
		}
	}
	h.must(&Command{Change: &AccountUpdate{Limits: limitOf(5, 3)}})
	ask(GrantAsk{Type: Live, Month: month, Want: 10})
	h.must(&Command{Change: &AccountUpdate{Limits: limitOf(5, 2)}})
	if got := ask(GrantAsk{Type: Live, Month: month, Want: 10}); got != (Granted{0, 3}) {
		t.Errorf("above a lowered limit: %+v", got)
	}
	for e, err := range h.Events(EventQuery{Account: DefaultAccount}) {
		if err != nil || strings.Contains(e.Action, "grant") {
			t.Error(e, err)
		}
	}
	h.reopen()
	if n, err := h.Granted(DefaultAccount, Live, k.ID, true, month); n != 7 || err != nil {
		t.Error(n, err)
	}
	h.at = h.at.AddDate(0, 5, 0)
	ask(GrantAsk{Type: Live, Month: Month(h.at), Want: 1})
	if n, _ := h.Granted(DefaultAccount, Live, k.ID, true, month); n != 0 {
		t.Error("an old month's row was not removed")
	}
}

func TestOnce(t *testing.T) {
	h := begun(t)
	once := &Once{Scope: hashOf("scope"), Body: hashOf("body")}
	c := create("a")
	c.Once = once
	first := h.must(c)
	again := create("b")
	again.Once = once
	if r := h.must(again); !r.Repeat || r.Index != first.Index || r.Key.ID != first.Key.ID {
		t.Fatalf("repeat: %+v", r)
	}
	if k, _ := h.Key("key_b"); k != nil {
		t.Fatal("the repeat was carried out")
	}
	h.refused(IdempotencyMismatch, &Command{Once: &Once{Scope: once.Scope, Body: hashOf("other")}, Change: &KeyRevoke{ID: "key_a"}})
	// A refusal is not remembered.
	other := &Once{Scope: hashOf("scope 2"), Body: hashOf("body")}
	refused := create("a")
	refused.Once = other
	h.refused(Conflict, refused)
	ok := create("c")
	ok.Once = other
	if r := h.must(ok); r.Repeat {
		t.Fatal("a refusal was remembered")
	}
	h.reopen()
	h.at = h.at.Add(OnceRetention - time.Minute)
	if r := h.must(again.again()); !r.Repeat {
		t.Fatal("forgotten too early")
	}
	h.at = h.at.Add(time.Minute)
	if r := h.must(again.again()); r.Repeat || r.Key.ID != "key_b" {
		t.Fatalf("remembered for more than 24 h: %+v", r)
	}
	h.at = h.at.Add(OnceRetention + time.Minute)
	h.must(create("d"))
	if d := dump(t, h.Store); strings.Contains(d, "\n\"o") || strings.Contains(d, "\n\"x") {
		t.Errorf("old results are kept:\n%s", d)
	}
}

// again is c to be proposed again, at its own time.
func (c *Command) again() *Command {
	n := *c
	n.At = time.Time{}
	return &n
}

func actions(h *harness, q EventQuery) (list []string) {
	h.Helper()
	for e, err := range h.Events(q) {
		if err != nil {
			h.Fatal(err)
		}
		list = append(list, e.Action+" "+string(e.KeyID))
	}
	return list
}

func TestBulk(t *testing.T) {
	h := begun(t)
	h.refused(InvalidValue, &Command{Change: &KeyRevokeBulk{Reason: "all"}})
	in := &KeyImport{Lines: []int{1, 2, 5, 6}}
	for i, name := range []string{"a", "b", "a", "d"} {
		k := newKey(name)
		k.ID += KeyID(fmt.Sprint("_", i))
		k.Environment = "old"
		in.Keys = append(in.Keys, k)
	}
	in.Keys[3].Name = strings.Repeat("x", maxName+1)
	if h.Imported("pk_live_") {
		t.Error("nothing is imported yet")
	}
	r := h.must(&Command{Change: in})
	if r.Lines[0].ID != "key_a_0" || r.Lines[1].ID != "key_b_1" || r.Lines[2].Error == "" || r.Lines[2].Line != 5 || r.Lines[3].Error == "" {
		t.Fatalf("%+v", r.Lines)
	}
	if !h.Imported("pk_live_") {
		t.Error("an import must be noted")
	}
	// The next batch holds an import and the revocation that must see it.
	logs := []*raft.Log{h.entry(create("c")), h.entry(&Command{Change: &KeyRevokeBulk{CreatedBy: "op", Reason: "gone"}})}
	answers := h.ApplyBatch(logs)
	r = answers[1].(Result)
	if r.Matched != 3 || !slices.Equal(r.Keys, []KeyID{"key_a_0", "key_b_1", "key_c"}) || r.Next != "" {
		t.Fatalf("%+v", r)
	}
	r = h.must(&Command{Change: &KeyRevokeBulk{IDs: []KeyID{"key_c", "key_none", "key_c"}}})
	if r.Matched != 1 || len(r.Keys) != 0 {
		t.Fatalf("a second time: %+v", r)
	}
	got := actions(h, EventQuery{Account: DefaultAccount, Key: "key_b_1"})
	if !slices.Equal(got, []string{"key.import key_b_1", "key.revoke key_b_1"}) {
		t.Errorf("events: %q", got)
	}
}

// A bulk revocation with a limit stops there, and the steps after it find the rest.
func TestBulkLimit(t *testing.T) {
	h := begun(t)
	for i := range 7 {
		h.must(create(fmt.Sprint(i)))
	}
	h.refused(InvalidValue, &Command{Change: &KeyRevokeBulk{CreatedBy: "op", Limit: -1}})
	h.refused(InvalidValue, &Command{Change: &KeyRevokeBulk{CreatedBy: "op", Limit: BulkKeys + 1}})
	var sizes []int
	for after, more := KeyID(""), true; more; more = after != "" {
		r := h.must(&Command{Change: &KeyRevokeBulk{CreatedBy: "op", Limit: 3, After: after}})
		sizes, after = append(sizes, len(r.Keys)), r.Next
	}
	if !slices.Equal(sizes, []int{3, 3, 1}) {
		t.Errorf("the steps revoked %v keys", sizes)
	}
}

// The keys that a step with a limit looks at are bounded, too.
func TestBulkLimitOfRows(t *testing.T) {
	h := begun(t)
	const keys = 2*bulkRowsFor + 1
	in := &KeyImport{}
	for i := range keys {
		k := newKey(fmt.Sprintf("%03d", i))
		in.Keys = append(in.Keys, k)
	}
	h.must(&Command{Change: in})
	r := h.must(&Command{Change: &KeyRevokeBulk{Environment: ptr("none"), Limit: 2}})
	if r.Next != KeyID(fmt.Sprintf("key_%03d", keys-2)) {
		t.Errorf("it stopped after %q of %d keys", r.Next, keys)
	}
}

// Any command before the first one is refused, and so is a second
// first one.
func TestNothingBeforeInit(t *testing.T) {
	h := empty(t)
	for kind, c := range samples() {
		if kind != "init" {
			h.refused(Conflict, c)
		}
	}
	h.must(samples()["init"])
	h.refused(Conflict, samples()["init"])
	if answer := h.Apply(&raft.Log{Index: h.index, Type: raft.LogCommand}); !reflect.DeepEqual(answer, Result{}) {
		t.Errorf("an entry that was applied before: %+v", answer)
	}
}
