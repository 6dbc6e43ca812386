package admit

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
)

func code(f *fault.Error) fault.Code {
	if f == nil {
		return ""
	}
	return f.Code
}

// vouchers counts the calls of Vouch.
type vouchers int

func (v *vouchers) Vouch() { *v++ }

func TestCheck(t *testing.T) {
	h := newHarness(t)
	good := h.key(nil)
	gone := h.key(func(k *store.Key) { k.ID = "key_gone" })
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: "key_gone", Reason: "leaked"}})
	old := h.key(func(k *store.Key) { k.ExpiresAt = noon })
	off := h.key(func(k *store.Key) { k.Disabled = true })
	near := h.key(func(k *store.Key) { k.Allowlist = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	reader := h.key(func(k *store.Key) { k.Scopes = []string{"read"} })
	bound := h.key(func(k *store.Key) { k.Routes = []string{"GET /v1/chat"} })
	for _, c := range []struct {
		name  string
		key   string
		set   func(*http.Request)
		rule  Rule
		want  fault.Code
		known bool // Record is set
		valid bool // and the key is good: limits are shown
		hint  bool
	}{
		{"good", good, nil, chat, "", true, true, false},
		{"public", "", nil, Rule{Public: true}, "", false, false, false},
		{"public, two credentials", "", twice(good), Rule{Public: true}, "", false, false, false},
		{"nothing", "", nil, chat, fault.MissingKey, false, false, false},
		{"two", "", twice(good), chat, fault.AmbiguousCredentials, false, false, false},
		{"in the query", good, func(r *http.Request) { r.URL.RawQuery = "k=" + good }, chat, fault.KeyInQuery, false, false, false},
		{"malformed", "pk_live_short", nil, chat, fault.MalformedKey, false, false, false},
		{"a wrong sum", good[:45] + "!", nil, chat, fault.MalformedKey, false, false, true},
		{"unknown", apikey.New(apikey.LivePrefix), nil, chat, fault.InvalidKey, false, false, true},
		{"revoked", gone, nil, chat, fault.KeyRevoked, true, false, true},
		{"expired", old, nil, chat, fault.KeyExpired, true, false, true},
		{"disabled", off, nil, chat, fault.KeyDisabled, true, false, true},
		{"elsewhere", near, nil, chat, fault.IPNotAllowed, true, true, false},
		{"scope", reader, nil, chat, fault.InsufficientScope, true, true, false},
		{"route", bound, nil, chat, fault.RouteNotAllowed, true, true, false},
		{"route of another key", good, nil, Rule{Route: "/v9/"}, "", true, true, false},
		{"management asks for no route", bound, nil, Rule{Management: true, Scope: store.ScopeWrite}, "", true, true, false},
		{"exposed, alert", good, func(r *http.Request) { r.Header.Set("Origin", "https://a.test") }, chat, "", true, true, false},
	} {
		vouched := new(vouchers)
		r := post(c.key, c.set)
		r = r.WithContext(WithVoucher(r.Context(), vouched))
		p, f := h.Check(r, h.Client(r), c.rule, noon)
		if (*vouched == 1) != c.valid {
			t.Errorf("%s: the request vouches %d times for its connection", c.name, *vouched)
		}
		if code(f) != c.want || (p.Record != nil) != c.known || p.Valid != c.valid || (p.Hint != "") != c.hint {
			t.Errorf("%s: %v; record %v, valid %v, hint %q", c.name, f, p.Record != nil, p.Valid, p.Hint)
		}
		if f != nil && (p.Limits.N > 0) != c.valid {
			t.Errorf("%s: %d limits on a refusal", c.name, p.Limits.N)
		}
		if p.Client != here {
			t.Errorf("%s: client %v", c.name, p.Client)
		}
		if f != nil && c.key != "" && strings.Contains(fmt.Sprintf("%v %+v %s", f, p, p.Hint), c.key) {
			t.Errorf("%s: the key is in what came back", c.name)
		}
	}
}

// A live key from a browser is noticed, and refused where the account says so.
func TestCheckBrowser(t *testing.T) {
	h := newHarness(t)
	r := post(h.key(nil), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
	if p, _ := h.Check(r, here, chat, noon); !p.Exposed {
		t.Error("a live key from a browser was not noticed")
	}
	h.apply(&store.Command{Change: &store.AccountUpdate{BrowserKeys: ptr(store.BrowserBlock)}})
	if _, f := h.Check(r, here, chat, noon); code(f) != fault.KeyExposed {
		t.Errorf("blocked browser: %v", f)
	}
}

func TestCheckNamesMissingScope(t *testing.T) {
	h := newHarness(t)
	reader := h.key(func(k *store.Key) { k.Scopes = []string{"read"} })
	_, f := h.Check(post(reader, nil), here, chat, noon)
	if f.Scope != "write" || !strings.Contains(f.Sentence(), "write") {
		t.Errorf("the missing scope: %q, %q", f.Scope, f.Sentence())
	}
}

func twice(key string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + key, "Bearer " + key} }
}

// A refusal before step 5 costs no lookup, and a wrong checksum costs one only
// where some keys may have one.
func TestLookups(t *testing.T) {
	h := newHarness(t)
	good := h.key(nil)
	looked := func(key string) bool {
		h.looks.Store(0)
		h.Check(post(key, nil), here, chat, noon)
		return h.looks.Load() > 0
	}
	if looked("") || looked(badSum) || looked(foreign) || !looked(good) {
		t.Error("before any import: a credential that cannot be a key was looked up, or a key was not")
	}
	h.shut = true
	if looked(good) {
		t.Error("a node that may not serve looked a key up")
	}
	if f := h.Serving(); code(f) != fault.NodeIsolated {
		t.Errorf("Serving: %v", f)
	}
	if _, f := h.Check(post("nonsense", nil), here, chat, noon); code(f) != fault.MalformedKey {
		t.Errorf("malformed comes before isolated: %v", f)
	}
	h.shut = false
	h.apply(&store.Command{Change: &store.KeyImport{Lines: []int{1}, Keys: []store.Key{{
		ID: "key_foreign", Account: store.DefaultAccount, Type: store.Live, Name: "old", Imported: true,
		Scopes: []string{"read", "write"}, Hash: apikey.Hash(h.store.Pepper(), foreign), Hint: "sk…kl",
	}}}})
	if !looked(badSum) || !looked(foreign) || looked("short") {
		t.Error("after an import of an older version: forms are not looked up as they should")
	}
	if _, f := h.Check(post(foreign, nil), here, chat, noon); f != nil {
		t.Errorf("the imported key: %v", f)
	}
	if _, f := h.Check(post("", func(r *http.Request) { r.Header.Set("X-Api-Key", good) }), here, chat, noon); f != nil {
		t.Errorf("the key in its own header: %v", f)
	}
}

func TestTooManyFailures(t *testing.T) {
	h := newHarness(t)
	good := h.key(nil)
	bad := func(a string) *fault.Error {
		_, f := h.Check(post(badSum, nil), netip.MustParseAddr(a), chat, noon)
		return f
	}
	for i := range failureBurst {
		if f := bad("203.0.113.7"); code(f) != fault.MalformedKey {
			t.Fatalf("failure %d: %v", i+1, f)
		}
	}
	f := bad("203.0.113.7")
	if code(f) != fault.TooManyFailures || f.RetryAfter != 2 {
		t.Fatalf("the next one: %+v", f)
	}
	if f := bad("203.0.113.8"); code(f) != fault.MalformedKey {
		t.Errorf("a neighbour: %v", f)
	}
	if _, f := h.Check(post(good, nil), here, chat, noon); f != nil {
		t.Errorf("a valid key from there: %v", f)
	}
	for range 2 * failureBurst {
		if _, f := h.Check(post("", nil), here, chat, noon); code(f) != fault.MissingKey {
			t.Fatalf("no key from there: %v", f)
		}
	}
	h.pass(2 * time.Second)
	if f := bad("203.0.113.7"); code(f) != fault.MalformedKey {
		t.Errorf("after exactly Retry-After: %v", f)
	}
	if f := bad("203.0.113.7"); code(f) != fault.TooManyFailures {
		t.Errorf("one failure after Retry-After gave back more than one: %v", f)
	}
}

// A gate believes the proxies that it was made with, and has a clock of its own
// if it was given none.
func TestConfig(t *testing.T) {
	h := newHarness(t)
	r := post("", func(r *http.Request) {
		r.RemoteAddr = "10.0.0.1:80"
		r.Header.Set("X-Forwarded-For", "198.51.100.2")
	})
	if got := h.Client(r).String(); got != "10.0.0.1" {
		t.Fatalf("without trusted proxies: %s", got)
	}
	c := h.config()
	c.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	c.Clock, c.KeyHeader = nil, "authorization"
	g := NewGate(c)
	if got := g.Client(h1.RequestOf(r)).String(); got != "198.51.100.2" {
		t.Errorf("behind a trusted proxy: %s", got)
	}
	if g.keyHeader != "" {
		t.Error("Authorization is also taken for the key's own header: every key would stand there twice")
	}
	before := time.Now()
	now, mono := g.cfg.Clock()
	later, more := g.cfg.Clock()
	if now.Before(before) || more < mono || later.Sub(now) != time.Duration(more-mono) {
		t.Errorf("the clock goes from %v, %d to %v, %d", now, mono, later, more)
	}
}

type broken struct{ Store }

func (broken) Lookup(store.Hash) (*store.Record, error) { return nil, errors.New("disk on fire") }

func TestStoreFails(t *testing.T) {
	h := newHarness(t)
	good := h.key(nil)
	c := h.config()
	c.Store = broken{c.Store}
	h.Gate = NewGate(c)
	_, f := h.Check(post(good, nil), here, chat, noon)
	if code(f) != fault.Unavailable || !strings.Contains(f.Error(), "fire") || strings.Contains(f.Sentence(), "fire") {
		t.Errorf("%v", f)
	}
	if a, f := h.Verify(t.Context(), anyRoute, &VerifyRequest{Key: good}, noon); code(f) != fault.Unavailable {
		t.Errorf("verify: %+v %v", a, f)
	}
}

// A key is unknown once its account is deleted, even while its record is held.
func TestAccountDeleted(t *testing.T) {
	h := newHarness(t)
	h.apply(&store.Command{Account: "acct_1", Change: &store.AccountCreate{Account: store.Account{ID: "acct_1", Name: "one", Tier: "pro"}}})
	good := h.key(func(k *store.Key) { k.Account = "acct_1" })
	if _, f := h.Check(post(good, nil), here, chat, noon); f != nil {
		t.Fatal(f)
	}
	h.apply(&store.Command{Account: "acct_1", Change: &store.AccountDelete{}})
	if p, f := h.Check(post(good, nil), here, chat, noon); code(f) != fault.InvalidKey || p.Valid {
		t.Errorf("%v", f)
	}
}

// Between a request's admission and its way upstream anything may have been taken
// away: the last look sees it, and nothing else.
func TestStill(t *testing.T) {
	h := newHarness(t)
	secret := h.key(nil)
	r := post(secret, nil)
	pass, f := h.Check(r, here, chat, noon)
	if f != nil {
		t.Fatal(f)
	}
	still := func(want fault.Code) {
		t.Helper()
		if f := h.Still(r, &pass, chat, noon); code(f) != want {
			t.Errorf("still: %v, want %q", f, want)
		}
	}
	still("")
	id := pass.Record.ID
	name := "another name"
	h.apply(&store.Command{Change: &store.KeyUpdate{ID: id, Name: &name}})
	still("")
	scopes := []string{"read"}
	h.apply(&store.Command{Change: &store.KeyUpdate{ID: id, Scopes: &scopes}})
	still(fault.InsufficientScope)
	scopes = []string{"read", "write"}
	h.apply(&store.Command{Change: &store.KeyUpdate{ID: id, Scopes: &scopes}})
	still("")
	h.apply(&store.Command{Change: &store.AllowlistSet{Entries: []store.AllowEntry{{CIDR: netip.MustParsePrefix("203.0.113.77/32")}}}})
	still(fault.IPNotAllowed)
	h.apply(&store.Command{Change: &store.AllowlistSet{}})
	still("")
	ends := noon
	h.apply(&store.Command{Change: &store.KeyUpdate{ID: id, ExpiresAt: &ends}})
	still(fault.KeyExpired)
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: id}})
	still(fault.KeyRevoked)
	h.shut = true
	still(fault.NodeIsolated)
}

// Each right that a request needed ends it when it is taken away: one row for each
// part of the decision.
func TestLost(t *testing.T) {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	update := func(u store.KeyUpdate) func(store.KeyID) store.Change {
		return func(id store.KeyID) store.Change { u.ID = id; return &u }
	}
	for name, tt := range map[string]struct {
		change func(store.KeyID) store.Change
		wait   time.Duration
		want   fault.Code
	}{
		"nothing":                 {nil, 0, ""},
		"another name":            {update(store.KeyUpdate{Name: new("x")}), 0, ""},
		"a scope more":            {update(store.KeyUpdate{Scopes: &[]string{"read", "write", "fast", "verify"}}), 0, ""},
		"the method's scope":      {update(store.KeyUpdate{Scopes: &[]string{"read", "fast"}}), 0, fault.InsufficientScope},
		"a scope of the route":    {update(store.KeyUpdate{Scopes: &[]string{"read", "write"}}), 0, fault.InsufficientScope},
		"the route":               {update(store.KeyUpdate{Routes: &[]string{"/v9/"}}), 0, fault.RouteNotAllowed},
		"the method of the route": {update(store.KeyUpdate{Routes: &[]string{"GET /v1/"}}), 0, fault.RouteNotAllowed},
		"another route":           {update(store.KeyUpdate{Routes: &[]string{"POST /v1/"}}), 0, ""},
		"the key's address":       {update(store.KeyUpdate{Allowlist: new(prefix("192.0.2.0/24"))}), 0, fault.IPNotAllowed},
		"another address":         {update(store.KeyUpdate{Allowlist: new(prefix(here.String() + "/32"))}), 0, ""},
		"disabled":                {update(store.KeyUpdate{Disabled: new(true)}), 0, fault.KeyDisabled},
		"expires":                 {update(store.KeyUpdate{ExpiresAt: new(noon.Add(time.Minute))}), time.Minute, fault.KeyExpired},
		"expires later":           {update(store.KeyUpdate{ExpiresAt: new(noon.Add(time.Minute))}), time.Second, ""},
		"revoked":                 {func(id store.KeyID) store.Change { return &store.KeyRevoke{ID: id} }, 0, fault.KeyRevoked},
		"the account's address": {func(store.KeyID) store.Change {
			return &store.AllowlistSet{Entries: []store.AllowEntry{{CIDR: prefix("192.0.2.0/24")[0]}}}
		}, 0, fault.IPNotAllowed},
		"suspended": {func(store.KeyID) store.Change { return &store.AccountUpdate{Suspended: new(true)} }, 0, fault.AccountSuspended},
		"browsers":  {func(store.KeyID) store.Change { return &store.AccountUpdate{BrowserKeys: new(store.BrowserBlock)} }, 0, fault.KeyExposed},
	} {
		h := newHarness(t)
		r := post(h.key(func(k *store.Key) { k.Scopes = []string{"read", "write", "fast"} }), func(r *http.Request) { r.Header.Set("Origin", "https://a.test") })
		rule := chat
		rule.Require = []string{"fast"}
		pass, f := h.Check(r, here, rule, noon)
		if f != nil {
			t.Fatalf("%s: refused at first: %v", name, f)
		}
		if tt.change != nil {
			h.apply(&store.Command{Change: tt.change(pass.Record.ID)})
		}
		if f := h.Lost(r, &pass, rule, noon.Add(tt.wait)); code(f) != tt.want {
			t.Errorf("%s: %v, want %q", name, f, tt.want)
		}
		// Lost judges the rights of the key only; Still judges the lease too.
		if h.shut = true; code(h.Still(r, &pass, rule, noon)) != fault.NodeIsolated || code(h.Lost(r, &pass, rule, noon.Add(tt.wait))) != tt.want {
			t.Errorf("%s: the lease is confused with the rights", name)
		}
	}
}

// A credential that another account imported meanwhile gives the request that began with
// it no right of that account.
func TestLostToAnotherAccount(t *testing.T) {
	h := newHarness(t)
	const secret, other = "sk_live_aaaaaaaaaaaaaaaa", store.AccountID("acct_other")
	load := func(account store.AccountID, id store.KeyID) {
		k := store.Key{ID: id, Hash: apikey.Hash(h.store.Pepper(), secret), Account: account, Type: store.Live, Name: "n", Scopes: []string{"read", "write"}, Hint: "…"}
		r := h.apply(&store.Command{Account: account, Change: &store.KeyImport{Keys: []store.Key{k}, Lines: []int{1}, Prefixes: []string{"sk_live_"}, Reassign: true}})
		if r.Lines[0].Error != "" {
			t.Fatal(r.Lines[0].Error)
		}
	}
	load(store.DefaultAccount, "key_first")
	r := post(secret, nil)
	pass, f := h.Check(r, here, chat, noon)
	if f != nil {
		t.Fatal(f)
	}
	h.apply(&store.Command{Change: &store.AccountCreate{Account: store.Account{ID: other, Name: "other"}}})
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: "key_first"}})
	load(other, "key_second")
	if again, f := h.Check(r, here, chat, noon); f != nil || again.Account.ID != other {
		t.Fatalf("a new request is judged as %+v, %v", again.Account, f)
	}
	if f := h.Lost(r, &pass, chat, noon); code(f) != fault.KeyRevoked {
		t.Errorf("the old request: %v", f)
	}
	if f := h.Still(r, &pass, chat, noon); code(f) != fault.KeyRevoked {
		t.Errorf("the old request, before it is sent: %v", f)
	}
}
