package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
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
	h.refused(InvalidValue, &Command{AccountCreate: &AccountCreate{Account: Account{ID: "acct_a", Tier: "none"}}})
	a := h.must(&Command{AccountCreate: &AccountCreate{Account: Account{ID: "acct_a", Name: "Acme", Tier: "pro"}}}).Account
	if a.RetentionDays != 30 || a.BrowserKeys != BrowserAlert || a.Modified != h.index {
		t.Fatalf("defaults: %+v", a)
	}
	h.refused(Conflict, &Command{AccountCreate: &AccountCreate{Account: Account{ID: "acct_a"}}})
	cell := h.Cell("acct_a")
	meter := cell.Meters[Live]
	if cell.Load().Limit[Live].PerMinute != 300 {
		t.Fatalf("limits: %+v", cell.Load().Limit)
	}
	pro := *h.Tier("pro")
	pro.Live.PerMinute = ptr(int64(400))
	h.must(&Command{TierPut: &TierPut{Tier: pro}})
	if cell.Load().Limit[Live].PerMinute != 400 || h.Cell("acct_a") != cell || cell.Meters[Live] != meter {
		t.Fatal("a tier's change must reach its accounts' cells, in place")
	}
	if h.Cell(DefaultAccount).Load().Limit[Live].PerMinute != 60 {
		t.Fatal("a tier's change reached another tier's account")
	}
	h.refused(Conflict, &Command{TierPut: &TierPut{Tier: pro, Create: true}})
	h.refused(Conflict, &Command{TierDelete: &TierDelete{Name: "pro"}})
	h.refused(NotFound, &Command{TierDelete: &TierDelete{Name: "gold"}})
	h.must(&Command{TierPut: &TierPut{Tier: Tier{Name: "gold"}, Create: true}})
	h.must(&Command{Account: "acct_a", Match: a.Modified, AccountUpdate: &AccountUpdate{Tier: ptr("gold")}})
	h.refused(PreconditionFailed, &Command{Account: "acct_a", Match: a.Modified, AccountUpdate: &AccountUpdate{Name: ptr("x")}})
	if cell.Load().Limit[Live] != (limiter.Limit{}) {
		t.Fatalf("a tier without limits: %+v", cell.Load().Limit[Live])
	}
	h.refused(Conflict, &Command{TierDelete: &TierDelete{Name: "gold"}})
	h.must(&Command{Account: "acct_a", AccountUpdate: &AccountUpdate{Tier: ptr("free"), Limits: limitOf(5, 6)}})
	h.must(&Command{TierDelete: &TierDelete{Name: "gold"}})
	h.refused(InvalidValue, &Command{Account: "acct_a", AccountUpdate: &AccountUpdate{Limits: limitOf(0, 6)}})
	h.refused(InvalidValue, &Command{Account: "acct_a", AccountUpdate: &AccountUpdate{RetentionDays: ptr(91)}})

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
		return &Command{AllowlistSet: c}
	}
	h.refused(FeatureNotInTier, set("203.0.113.0/24"))
	h.must(set())
	h.must(&Command{AccountUpdate: &AccountUpdate{Tier: ptr("enterprise")}})
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
	h.must(&Command{AccountUpdate: &AccountUpdate{Tier: ptr("free")}}) // the list stays in force
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
	h.must(&Command{KeyCreate: &KeyCreate{Key: k}})
	month := Month(epoch)
	ask := func(a GrantAsk) Granted {
		t.Helper()
		a.Account = DefaultAccount
		return h.must(&Command{Grant: &Grant{Node: "n", Asks: []GrantAsk{a}}}).Granted[0]
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
	h.must(&Command{AccountUpdate: &AccountUpdate{Limits: limitOf(5, 3)}})
	ask(GrantAsk{Type: Live, Month: month, Want: 10})
	h.must(&Command{AccountUpdate: &AccountUpdate{Limits: limitOf(5, 2)}})
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
	h.refused(IdempotencyMismatch, &Command{Once: &Once{Scope: once.Scope, Body: hashOf("other")}, KeyRevoke: &KeyRevoke{ID: "key_a"}})
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

// again is c to be proposed anew, at its own time.
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
	h.refused(InvalidValue, &Command{KeyRevokeBulk: &KeyRevokeBulk{Reason: "all"}})
	in := &KeyImport{Lines: []int{1, 2, 5, 6}}
	for i, name := range []string{"a", "b", "a", "d"} {
		k := newKey(name)
		k.ID += KeyID(fmt.Sprint("_", i))
		k.Environment = "old"
		in.Keys = append(in.Keys, k)
	}
	in.Keys[3].Name = strings.Repeat("x", maxName+1)
	if h.Imported() {
		t.Error("nothing is imported yet")
	}
	r := h.must(&Command{KeyImport: in})
	if r.Lines[0].ID != "key_a_0" || r.Lines[1].ID != "key_b_1" || r.Lines[2].Error == "" || r.Lines[2].Line != 5 || r.Lines[3].Error == "" {
		t.Fatalf("%+v", r.Lines)
	}
	if !h.Imported() {
		t.Error("an import must be noted")
	}
	// The next batch holds an import and the revocation that must see it.
	logs := []*raft.Log{h.entry(create("c")), h.entry(&Command{KeyRevokeBulk: &KeyRevokeBulk{CreatedBy: "op", Reason: "gone"}})}
	answers := h.ApplyBatch(logs)
	r = answers[1].(Result)
	if r.Matched != 3 || !slices.Equal(r.Keys, []KeyID{"key_a_0", "key_b_1", "key_c"}) || r.Next != "" {
		t.Fatalf("%+v", r)
	}
	r = h.must(&Command{KeyRevokeBulk: &KeyRevokeBulk{IDs: []KeyID{"key_c", "key_none", "key_c"}}})
	if r.Matched != 1 || len(r.Keys) != 0 {
		t.Fatalf("a second time: %+v", r)
	}
	got := actions(h, EventQuery{Account: DefaultAccount, Key: "key_b_1"})
	if !slices.Equal(got, []string{"key.import key_b_1", "key.revoke key_b_1"}) {
		t.Errorf("events: %q", got)
	}
}

func TestAccountDeletion(t *testing.T) {
	h := begun(t)
	h.refused(Conflict, &Command{AccountDelete: &AccountDelete{}})
	h.must(&Command{AccountCreate: &AccountCreate{Account: Account{ID: "acct_a"}}})
	c := create("a")
	c.Account = "acct_a"
	k := h.must(c).Key
	r, _ := h.Lookup(k.Hash)
	h.must(&Command{Account: "acct_a", AccountDelete: &AccountDelete{}})
	if r.Account.Load() != nil {
		t.Error("a record in use still leads to its account")
	}
	if r, err := h.Lookup(k.Hash); r != nil || err != nil {
		t.Errorf("lookup: %+v %v", r, err)
	}
	if k, err := h.Key(k.ID); k != nil || err != nil {
		t.Errorf("key: %+v %v", k, err)
	}
	again := &Command{AccountCreate: &AccountCreate{Account: Account{ID: "acct_a"}}}
	h.refused(Conflict, again)
	h.refused(NotFound, c.again())
	h.reopen()
	if r, err := h.Lookup(k.Hash); r != nil || err != nil {
		t.Errorf("lookup after a restart: %+v %v", r, err)
	}
	if got := actions(h, EventQuery{Account: "acct_a"}); len(got) != 2 {
		t.Errorf("events: %q", got) // key.create and account.delete
	}
	h.at = h.at.Add(sweepEvery)
	h.must(create("b"))
	if d := dump(t, h.Store); strings.Contains(d, `"kkey_a"`) || strings.Contains(d, fmt.Sprintf("%q", hashRow(nil, &k.Hash))) {
		t.Errorf("the deleted account's keys are kept:\n%s", d)
	}
	h.at = h.at.AddDate(0, 0, 31)
	h.must(create("d"))
	h.at = h.at.Add(sweepEvery)
	h.must(again.again())
	if got := actions(h, EventQuery{Account: "acct_a"}); len(got) != 0 {
		t.Errorf("events of the one before: %q", got)
	}
}

func TestEventsGrowOld(t *testing.T) {
	h := begun(t)
	h.must(&Command{AccountUpdate: &AccountUpdate{RetentionDays: ptr(7)}})
	h.must(create("a"))
	old := h.at
	h.at = h.at.AddDate(0, 0, 6)
	h.must(create("b"))
	if n := len(actions(h, EventQuery{Account: DefaultAccount})); n != 4 {
		t.Fatalf("%d events", n)
	}
	h.at = old.AddDate(0, 0, 7).Add(time.Minute)
	h.must(create("c"))
	if got := actions(h, EventQuery{Account: DefaultAccount}); !slices.Equal(got, []string{"key.create key_b", "key.create key_c"}) {
		t.Errorf("%q", got)
	}
}

func TestEventsInRanges(t *testing.T) {
	h := begun(t)
	const n = 3*eventChunk/2 + 1
	for i := range n {
		h.must(&Command{At: epoch.Add(time.Duration(i) * time.Second), KeyCreate: &KeyCreate{Key: newKey(fmt.Sprint(i))}})
	}
	all := actions(h, EventQuery{Account: DefaultAccount, Action: "key.create"})
	if len(all) != n {
		t.Fatalf("%d events of %d", len(all), n)
	}
	part := actions(h, EventQuery{Account: DefaultAccount, From: epoch.Add(10 * time.Second), To: epoch.Add(20 * time.Second), Action: "key.create"})
	if !slices.Equal(part, all[10:20]) {
		t.Errorf("%q", part)
	}
	var q EventQuery
	q.Account = DefaultAccount
	q.Action = "key.create"
	var paged []string
	for len(paged) < n {
		before := len(paged)
		for e := range h.Events(q) {
			paged = append(paged, e.Action+" "+string(e.KeyID))
			q.After = EventPos{e.Time, e.ID}
			if len(paged)-before == 100 {
				break
			}
		}
		if len(paged) == before {
			break
		}
	}
	if !slices.Equal(paged, all) {
		t.Errorf("%d events in pages", len(paged))
	}
	for _, err := range h.Events(EventQuery{}) {
		if err == nil {
			t.Error("a query without account must fail")
		}
	}
}

// A command of a newer perfgate ends the store and is never skipped.
func TestUnknownCommandHalts(t *testing.T) {
	var fatal []error
	s, err := Open(Config{FS: vfs.NewMem(), Dir: "d", Fatal: func(err error) { fatal = append(fatal, err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := &harness{TB: t, Store: s, at: epoch}
	good := h.entry(&Command{Init: &Init{ClusterID: "c", DefaultTier: "free"}})
	bad := &raft.Log{Index: 2, Type: raft.LogCommand, Data: []byte("\x09{}")}
	for range 2 {
		for _, answer := range s.ApplyBatch([]*raft.Log{good, bad}) {
			if _, ok := answer.(error); !ok {
				t.Errorf("answer %+v", answer)
			}
		}
	}
	if len(fatal) != 1 || s.Applied() != 0 || s.Initialized() {
		t.Errorf("fatal %v, applied %d", fatal, s.Applied())
	}
}

func TestOtherEntriesAreTolerated(t *testing.T) {
	h := begun(t)
	h.index++
	h.Apply(&raft.Log{Index: h.index, Type: raft.LogConfiguration, Data: []byte("?")})
	if h.Applied() != h.index {
		t.Errorf("applied %d, want %d", h.Applied(), h.index)
	}
	h.must(create("a"))
	before := dump(t, h.Store)
	h.ApplyBatch(h.log) // Raft replays what it is not sure of
	if after := dump(t, h.Store); after != before {
		t.Error("a replay changed something")
	}
}

// script is a log of n random commands on few names, so that they meet.
func script(h *harness, seed uint64, n int) []*raft.Log {
	r := rand.New(rand.NewPCG(seed, seed))
	name := func() string { return string(rune('a' + r.IntN(12))) }
	id := func() KeyID { return KeyID("key_" + name()) }
	account := func() AccountID { return AccountID([]string{"default", "acct_a", "acct_b"}[r.IntN(3)]) }
	logs := []*raft.Log{h.entry(&Command{Init: &Init{ClusterID: "c", DefaultTier: "enterprise"}})}
	for range n {
		h.at = h.at.Add(time.Duration(r.IntN(8)) * time.Hour)
		c := &Command{Account: account()}
		if r.IntN(4) == 0 {
			c.Once = &Once{Scope: hashOf(name()), Body: hashOf("b")}
		}
		switch r.IntN(13) {
		case 0, 1, 2:
			k := newKey(name())
			k.Environment = name()
			c.KeyCreate = &KeyCreate{Key: k}
		case 3:
			c.KeyUpdate = &KeyUpdate{ID: id(), Name: ptr(name()), Disabled: ptr(r.IntN(2) == 0), Metadata: &map[string]string{name(): "x", name(): "y", name(): "z"}}
		case 4:
			to := name() + name()
			c.KeyRotate = &KeyRotate{ID: id(), New: KeyID("key_" + to), Hash: hashOf(to), Hint: to, OverlapEndsAt: h.at.Add(time.Duration(r.IntN(20)) * time.Hour)}
		case 5:
			c.KeyRevoke = &KeyRevoke{ID: id(), Reason: name()}
		case 6:
			c.KeyRevokeBulk = &KeyRevokeBulk{Environment: ptr(name()), CreatedBefore: h.at.Add(-24 * time.Hour)}
		case 7:
			in := &KeyImport{}
			for range r.IntN(5) {
				in.Keys = append(in.Keys, newKey(name()+name()+name()))
			}
			c.KeyImport = in
		case 8:
			c.AllowlistSet = &AllowlistSet{Entries: []AllowEntry{{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), 0, 0}), 16)}}}
		case 9:
			c.AccountCreate = &AccountCreate{Account: Account{ID: account(), Name: name(), RetentionDays: 7 + r.IntN(9)}}
		case 10:
			c.AccountUpdate = &AccountUpdate{Name: ptr(name()), Limits: limitOf(1+r.Int64N(9), 1+r.Int64N(99))}
		case 11:
			if r.IntN(3) == 0 {
				c.AccountDelete = &AccountDelete{}
			} else {
				c.TierPut = &TierPut{Tier: Tier{Name: "enterprise", Live: *limitOf(1+r.Int64N(9), 50), IPAllowlist: r.IntN(4) > 0}}
			}
		case 12:
			c.Account = ""
			g := &Grant{}
			for range 3 {
				g.Asks = append(g.Asks, GrantAsk{Account: account(), Type: KeyType(r.IntN(2)), Month: Month(h.at) + r.IntN(2), Want: r.Int64N(20), Give: r.Int64N(3)})
			}
			c.Grant = g
		}
		logs = append(logs, h.entry(c))
	}
	return logs
}

// The same log leaves the same bytes, however it is cut into batches and
// whenever the process restarts in between.
func TestBatchesDoNotMatter(t *testing.T) {
	for seed := range uint64(12) {
		one := empty(t)
		logs := script(one, seed, 300)
		for _, l := range logs {
			one.Apply(l)
		}
		want := dump(t, one.Store)
		for _, size := range []int{7, len(logs)} {
			other := empty(t)
			for i, batch := range slices.Collect(slices.Chunk(logs, size)) {
				other.ApplyBatch(batch)
				if i%5 == 4 {
					other.reopen()
				}
			}
			if got := dump(t, other.Store); got != want {
				t.Fatalf("seed %d: batches of %d leave other bytes: %s", seed, size, firstDifference(got, want))
			}
			for id, cell := range one.view.cells {
				mirror := other.Cell(id)
				if mirror == nil || fmt.Sprintf("%+v", mirror.Load().Account) == "" || mirror.Load().Limit != cell.Load().Limit {
					t.Fatalf("seed %d: account %s differs in memory", seed, id)
				}
			}
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("\ngot  %s\nwant %s", g[i], w[i])
		}
	}
	return fmt.Sprintf("%d rows, want %d", len(g), len(w))
}

// Whatever a power loss leaves, the state is that of exactly the first commands
// up to its applied index, and goes on from there to the same end.
func TestPowerLoss(t *testing.T) {
	ref := empty(t)
	logs := script(ref, 3, 120)
	states := map[uint64]string{}
	for _, l := range logs {
		ref.Apply(l)
		states[l.Index] = dump(t, ref.Store)
	}
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[uint64]bool{}
	for round := range 25 {
		mem := vfs.NewCrashableMem()
		s := openAt(t, mem)
		stop := 1 + r.IntN(len(logs)-1)
		for i, l := range logs[:stop] {
			s.Apply(l)
			if r.IntN(20) == 0 || i == stop/2 {
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, crashed)
		at := s.Applied()
		seen[at] = true
		if at > 0 && dump(t, s) != states[at] || at == 0 && dump(t, s) != "" {
			t.Fatalf("round %d: applied %d of %d, but the rows are others", round, at, stop)
		}
		s.ApplyBatch(logs)
		if got := dump(t, s); got != states[uint64(len(logs))] {
			t.Fatalf("round %d: from %d on: %s", round, at, firstDifference(got, states[uint64(len(logs))]))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 5 {
		t.Errorf("the crashes left only %d different states; they prove nothing", len(seen))
	}
}
