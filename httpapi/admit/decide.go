package admit

import (
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// subject is who asks, as far as known: one immutable view of key and account.
type subject struct {
	record  *store.Record       // nil: no such key
	account *store.AccountState // nil: its account is gone
}

// request is what is asked, as far as known. Steps whose input is not known are
// skipped, which only the verify call makes use of.
type request struct {
	credential fault.Code // why there is no key to look up (steps 2 and 3); "" if there is
	serving    bool       // this node may serve
	client     netip.Addr
	anywhere   bool // client is not known
	target     Target
	browser    bool // Origin or Sec-Fetch-Site is present
}

// verdict is the answer of steps 2–8.
type verdict struct {
	code    fault.Code // "" if the request may pass
	valid   bool       // the key is: known, and neither revoked, expired nor disabled
	missing string     // the scopes that insufficient_scope asks for, separated by spaces
	exposed bool       // a live key from a browser, tolerated but worth an alert
}

// decide is section 3 of the contract, steps 2 to 8 in that order: the first
// that fails answers. It is pure; expiry and overlap are judged at now.
//
// Step 1 is the router's, and whoever calls has looked the key up only if steps
// 2 to 4 pass. Steps 9 and 10 are the proxy's and [Gate.Charge].
func decide(s subject, q *request, rule *Rule, now time.Time) (v verdict) {
	switch {
	case q.credential != "":
		return verdict{code: q.credential}
	case !q.serving:
		return verdict{code: fault.NodeIsolated}
	case s.record == nil || s.account == nil:
		return verdict{code: fault.InvalidKey}
	}
	switch s.record.State(now) {
	case store.Revoked:
		return verdict{code: fault.KeyRevoked}
	case store.Expired:
		return verdict{code: fault.KeyExpired}
	case store.Disabled:
		return verdict{code: fault.KeyDisabled}
	}
	v.valid = true
	switch {
	case !q.anywhere && !addressAllowed(s, q.client):
		v.code = fault.IPNotAllowed
	case !scopesHeld(s.record, q.target.Method, rule):
		v.code = fault.InsufficientScope
		v.missing = missingScopes(s.record, q.target.Method, rule)
	case !rule.Management && !routeAllowed(s.record.Routes, &q.target, rule.Route):
		v.code = fault.RouteNotAllowed
	case q.browser && !rule.Management && s.record.Type == store.Live:
		switch s.account.BrowserKeys {
		case store.BrowserBlock:
			v.code = fault.KeyExposed
		case store.BrowserAllow:
		default: // alert, also where nothing is set
			v.exposed = true
		}
	}
	return v
}

// addressAllowed asks both lists, the account's and the key's own.
func addressAllowed(s subject, a netip.Addr) bool {
	return (s.account.Allowlist == nil || s.account.Allowlist.Lookup(a)) &&
		(s.record.Allow == nil || s.record.Allow.Lookup(a))
}

// scopesHeld reports whether r's scopes cover what rule needs: the built-in one
// (by method, if the rule names none) and every one that the rule requires. admin
// covers everything.
func scopesHeld(r *store.Record, method string, rule *Rule) bool {
	if r.Scopes&store.ScopeAdmin != 0 {
		return true
	}
	need := needed(method, rule)
	if r.Scopes&need != need {
		return false
	}
	for _, name := range rule.Require {
		if !holds(r, name) {
			return false
		}
	}
	return true
}

// missingScopes names what [scopesHeld] misses, as a challenge shows it.
func missingScopes(r *store.Record, method string, rule *Rule) string {
	out := make([]byte, 0, 32)
	add := func(name string) {
		if len(out) > 0 {
			out = append(out, ' ')
		}
		out = append(out, name...)
	}
	absent := needed(method, rule) &^ r.Scopes
	for _, b := range builtin {
		if absent&b.scope != 0 {
			add(b.name)
		}
	}
	for _, name := range rule.Require {
		if !holds(r, name) && absent&scopeOf(name) == 0 {
			add(name)
		}
	}
	return string(out)
}

func needed(method string, rule *Rule) store.Scope {
	switch {
	case rule.Scope != 0:
		return rule.Scope
	case method == "":
		return 0
	case method == http.MethodGet, method == http.MethodHead, method == http.MethodOptions:
		return store.ScopeRead
	}
	return store.ScopeWrite
}

func holds(r *store.Record, name string) bool {
	if s := scopeOf(name); s != 0 {
		return r.Scopes&s != 0
	}
	_, ok := slices.BinarySearch(r.Custom, name)
	return ok
}

var builtin = [...]struct {
	name  string
	scope store.Scope
}{
	{"read", store.ScopeRead},
	{"write", store.ScopeWrite},
	{"verify", store.ScopeVerify},
	{"limit", store.ScopeLimit},
	{"admin", store.ScopeAdmin},
}

// scopeOf is the built-in scope called name, 0 if that is a custom one.
func scopeOf(name string) store.Scope {
	for _, b := range builtin {
		if b.name == name {
			return b.scope
		}
	}
	return 0
}

// routeAllowed reports whether a key with these routes may be used on t. An
// entry allows a request if it is the very pattern of the route that matched, or
// if it covers the request by itself ([MatchRoute]). With neither a route nor a
// path known, nothing can be said against it.
func routeAllowed(routes []string, t *Target, route string) bool {
	if len(routes) == 0 || t.Path == "" && route == "" {
		return true
	}
	for _, p := range routes {
		if p == route || t.Path != "" && MatchRoute(p, t) {
			return true
		}
	}
	return false
}
