package admit

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) int64 { return noon.Add(d).UnixNano() }

func prefixes(list ...string) *bart.Lite {
	t := new(bart.Lite)
	for _, s := range list {
		t.Insert(netip.MustParsePrefix(s))
	}
	return t
}

// asked is one request in every respect that decide looks at: by default one
// that passes, sent at noon by 203.0.113.7 with a live key to POST /v1/chat.
type asked struct {
	rec     store.Record
	acct    *store.AccountState
	unknown bool
	req     request
	rule    Rule
	now     time.Time
}

func passing() *asked {
	return &asked{
		rec: store.Record{ID: "key_1", Extra: new(store.Extra), Type: store.Live, Scopes: store.ScopeRead | store.ScopeWrite},
		acct: &store.AccountState{Account: store.Account{
			ID: "default", BrowserKeys: store.BrowserBlock,
		}},
		req: request{
			serving: true, client: netip.MustParseAddr("203.0.113.7"),
			method: "POST", path: "/v1/chat",
		},
		rule: Rule{Route: "/v1/"},
		now:  noon,
	}
}

func (a *asked) decide() verdict {
	s := subject{&a.rec, a.acct}
	if a.unknown {
		s = subject{}
	}
	return decide(s, &a.req, &a.rule, a.now)
}

// steps are those of admission, 2 to 8, in their order: each spoils one thing.
var steps = []struct {
	name  string
	spoil func(*asked)
	want  fault.Code
}{
	{"2 nothing sent", func(a *asked) { a.req.credential = fault.MissingKey }, fault.MissingKey},
	{"4 isolated", func(a *asked) { a.req.serving = false }, fault.NodeIsolated},
	{"5 unknown", func(a *asked) { a.unknown = true }, fault.InvalidKey},
	{"5 revoked", func(a *asked) { a.rec.Revoked = at(0) }, fault.KeyRevoked},
	{"5 expired", func(a *asked) { a.rec.Expires = at(0) }, fault.KeyExpired},
	{"5 disabled", func(a *asked) { a.rec.Disabled = true }, fault.KeyDisabled},
	{"5 suspended", func(a *asked) { a.acct.Suspended = true }, fault.AccountSuspended},
	{"6 address", func(a *asked) { a.acct.Allowlist = prefixes("198.51.100.0/24") }, fault.IPNotAllowed},
	{"7 scope", func(a *asked) { a.rec.Scopes = store.ScopeRead }, fault.InsufficientScope},
	{"7 route", func(a *asked) { a.rec.Routes = CompileRoutes([]string{"/v2/"}) }, fault.RouteNotAllowed},
	{"8 browser", func(a *asked) { a.req.browser = true }, fault.KeyExposed},
}

// Each failure alone gives its own answer; beside any later one it still does.
func TestFirstFailureAnswers(t *testing.T) {
	if v := passing().decide(); v.code != "" || !v.valid {
		t.Fatalf("the request that should pass: %+v", v)
	}
	for i, first := range steps {
		a := passing()
		first.spoil(a)
		if got := a.decide().code; got != first.want {
			t.Errorf("%s: %q, want %q", first.name, got, first.want)
		}
		for _, later := range steps[i+1:] {
			a := passing()
			later.spoil(a)
			first.spoil(a)
			if got := a.decide().code; got != first.want {
				t.Errorf("%s with %s: %q, want %q", first.name, later.name, got, first.want)
			}
		}
	}
}

func TestCredentialRefusalsComeFirst(t *testing.T) {
	for _, code := range []fault.Code{fault.MissingKey, fault.AmbiguousCredentials, fault.KeyInQuery, fault.MalformedKey} {
		a := passing()
		a.req.serving, a.req.credential = false, code
		if v := a.decide(); v.code != code || v.valid {
			t.Errorf("%s: %+v", code, v)
		}
	}
}

// decideCases spoil or widen one thing of the request that passes.
var decideCases = []struct {
	name  string
	at    time.Duration // from noon
	set   func(*asked)
	want  fault.Code
	check func(verdict) bool
}{
	// Time. Every end is exclusive: at the very instant the right is gone.
	{"a nanosecond before expiry", -1, func(a *asked) { a.rec.Expires = at(0) }, "", nil},
	{"at expiry", 0, func(a *asked) { a.rec.Expires = at(0) }, fault.KeyExpired, nil},
	{"long after", time.Hour, func(a *asked) { a.rec.Expires = at(0) }, fault.KeyExpired, nil},
	{"in the overlap", -1, func(a *asked) { a.rec.Overlap = at(0) }, "", nil},
	{"at the overlap's end", 0, func(a *asked) { a.rec.Overlap = at(0) }, fault.KeyRevoked, nil},
	{"the overlap ends before the expiry", 0, func(a *asked) { a.rec.Overlap, a.rec.Expires = at(0), at(0) }, fault.KeyRevoked, nil},
	{"revoked by a node whose clock is ahead", 0, func(a *asked) { a.rec.Revoked = at(time.Second) }, fault.KeyRevoked, nil},
	{"the account is gone", 0, func(a *asked) { a.acct = nil }, fault.InvalidKey, func(v verdict) bool { return !v.valid }},

	// Addresses: both lists must pass.
	{"in the account's list", 0, func(a *asked) { a.acct.Allowlist = prefixes("203.0.113.0/24") }, "", nil},
	{"in both", 0, func(a *asked) { a.acct.Allowlist, a.rec.Allow = prefixes("203.0.113.0/24"), prefixes("203.0.113.7/32") }, "", nil},
	{"in the account's, not the key's", 0, func(a *asked) { a.acct.Allowlist, a.rec.Allow = prefixes("203.0.113.0/24"), prefixes("203.0.113.8/32") }, fault.IPNotAllowed, nil},
	{"in the key's, not the account's", 0, func(a *asked) { a.acct.Allowlist, a.rec.Allow = prefixes("10.0.0.0/8"), prefixes("203.0.113.7/32") }, fault.IPNotAllowed, nil},
	{"no address at all", 0, func(a *asked) { a.acct.Allowlist, a.req.client = prefixes("0.0.0.0/0", "::/0"), netip.Addr{} }, fault.IPNotAllowed, nil},
	{"address not known to a verifier", 0, func(a *asked) { a.acct.Allowlist, a.req.anywhere = prefixes("10.0.0.0/8"), true }, "", nil},
	{"a refused address is of a valid key", 0, func(a *asked) { a.acct.Allowlist = prefixes("10.0.0.0/8") }, fault.IPNotAllowed, func(v verdict) bool { return v.valid }},

	// Scopes.
	{"read reads", 0, func(a *asked) { a.rec.Scopes, a.req.method = store.ScopeRead, http.MethodGet }, "", nil},
	{"read heads", 0, func(a *asked) { a.rec.Scopes, a.req.method = store.ScopeRead, http.MethodHead }, "", nil},
	{"read asks for options", 0, func(a *asked) { a.rec.Scopes, a.req.method = store.ScopeRead, http.MethodOptions }, "", nil},
	{"write does not read", 0, func(a *asked) { a.rec.Scopes, a.req.method = store.ScopeWrite, http.MethodGet }, fault.InsufficientScope, missing("read")},
	{"write deletes", 0, func(a *asked) { a.rec.Scopes, a.req.method = store.ScopeWrite, http.MethodDelete }, "", nil},
	{"an unknown method writes", 0, func(a *asked) { a.rec.Scopes, a.req.method = store.ScopeRead, "get" }, fault.InsufficientScope, missing("write")},
	{"admin is everything", 0, func(a *asked) {
		a.rec.Scopes, a.rule.Require, a.rule.Scope = store.ScopeAdmin, []string{"chat"}, store.ScopeVerify
	}, "", nil},
	{"the rule's scope replaces the method's", 0, func(a *asked) { a.rec.Scopes, a.rule.Scope = store.ScopeVerify, store.ScopeVerify }, "", nil},
	{"admin is asked for", 0, func(a *asked) { a.rule.Scope = store.ScopeAdmin }, fault.InsufficientScope, missing("admin")},
	{"one custom scope of two", 0, func(a *asked) { a.rec.Custom, a.rule.Require = []string{"chat"}, []string{"chat", "images"} }, fault.InsufficientScope, missing("images")},
	{"both custom scopes", 0, func(a *asked) {
		a.rec.Custom, a.rule.Require = []string{"chat", "images"}, []string{"images", "chat"}
	}, "", nil},
	{"custom does not stand for write", 0, func(a *asked) {
		a.rec.Scopes, a.rec.Custom, a.rule.Require = 0, []string{"chat"}, []string{"chat"}
	}, fault.InsufficientScope, missing("write")},
	{"all that is missing, each once", 0, func(a *asked) { a.rec.Scopes, a.rule.Require = 0, []string{"write", "chat"} }, fault.InsufficientScope, missing("write chat")},
	{"a built-in name in require", 0, func(a *asked) { a.rule.Require = []string{"limit"} }, fault.InsufficientScope, missing("limit")},
	{"method not known to a verifier", 0, func(a *asked) { a.rec.Scopes, a.req.method = 0, "" }, "", nil},

	// Routes.
	{"the route's own pattern", 0, func(a *asked) { a.rec.Routes = CompileRoutes([]string{"/v2/", "/v1/"}) }, "", nil},
	{"a narrower one that covers", 0, func(a *asked) { a.rec.Routes = CompileRoutes([]string{"POST /v1/chat"}) }, "", nil},
	{"a narrower one that does not", 0, func(a *asked) { a.rec.Routes = CompileRoutes([]string{"GET /v1/chat"}) }, fault.RouteNotAllowed, nil},
	{"not asked of management", 0, func(a *asked) { a.rec.Routes, a.rule.Management = CompileRoutes([]string{"/v2/"}), true }, "", nil},
	{"path not known to a verifier", 0, func(a *asked) { a.rec.Routes, a.req.path, a.rule.Route = CompileRoutes([]string{"/v2/"}), "", "" }, "", nil},

	// Browsers.
	{"a test key in a browser", 0, func(a *asked) { a.req.browser, a.rec.Type = true, store.Test }, "", exposed(false)},
	{"allowed", 0, func(a *asked) { a.req.browser, a.acct.BrowserKeys = true, store.BrowserAllow }, "", exposed(false)},
	{"alert", 0, func(a *asked) { a.req.browser, a.acct.BrowserKeys = true, store.BrowserAlert }, "", exposed(true)},
	{"nothing set means alert", 0, func(a *asked) { a.req.browser, a.acct.BrowserKeys = true, "" }, "", exposed(true)},
	{"management from a browser", 0, func(a *asked) { a.req.browser, a.rule.Management = true, true }, "", exposed(false)},
}

func TestDecide(t *testing.T) {
	for _, c := range decideCases {
		a := passing()
		a.now = noon.Add(c.at)
		c.set(a)
		v := a.decide()
		if v.code != c.want {
			t.Errorf("%s: %q, want %q", c.name, v.code, c.want)
		}
		if c.check != nil && !c.check(v) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

func missing(want string) func(verdict) bool {
	return func(v verdict) bool { return v.missing == want }
}

func exposed(want bool) func(verdict) bool {
	return func(v verdict) bool { return v.exposed == want }
}
