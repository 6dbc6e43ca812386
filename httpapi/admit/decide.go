package admit

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// subject is the caller, as far as known: one immutable view of key and account.
type subject struct {
	record  *store.Record       // nil: no such key
	account *store.AccountState // nil: its account is gone
}

// request is the request to judge, as far as known. A step without input is
// skipped, which only the verify call uses.
type request struct {
	credential fault.Code // why there is no key to look up (steps 2 and 3); "" if there is
	refused    fault.Code // why the target is refused whatever the key (step 1); "" if it is not
	serving    bool       // this node may serve
	client     netip.Addr
	anywhere   bool   // client is not known
	method     string // "" if not known
	path       string // percent-encoded, as sent; "" if not known
	browser    bool   // Origin or Sec-Fetch-Site is present
}

// verdict is the answer of steps 2–8.
type verdict struct {
	code    fault.Code // "" if the request may pass
	valid   bool       // the key is: known, and neither revoked, expired nor disabled
	missing string     // the scopes that insufficient_scope asks for, separated by spaces
	exposed bool       // a live key from a browser, tolerated but worth an alert
}

// decide takes steps 2 to 8 of admission (docs/reference.md) in that order: the
// first that fails answers. It is pure; expiry and overlap are judged at now.
//
// Step 1 is the router's, and the caller has looked the key up only if steps 2 to
// 4 pass. Steps 9 and 10 are the proxy's and [Gate.Charge].
func decide(s subject, q *request, rule *Rule, now time.Time) (v verdict) {
	switch {
	case q.refused != "":
		return verdict{code: q.refused}
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
	case s.account.Suspended:
		v.code = fault.AccountSuspended
	case !q.anywhere && !addressAllowed(s, q.client):
		v.code = fault.IPNotAllowed
	case !scopesHeld(s.record, q.method, rule):
		v.code = fault.InsufficientScope
		v.missing = missingScopes(s.record, q.method, rule)
	case !rule.Management && s.record.Routes != nil && !s.record.Routes.Allow(q.method, q.path, rule.Route):
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

// scopesHeld reports whether r's scopes cover the needs of rule: the built-in one
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
		if !r.HasScope(name) {
			return false
		}
	}
	return true
}

// missingScopes names the scopes that [scopesHeld] misses, as a challenge shows
// them: each scope once, separated by spaces.
func missingScopes(r *store.Record, method string, rule *Rule) string {
	absent := needed(method, rule) &^ r.Scopes
	names := absent.Names()
	for _, name := range rule.Require {
		if !r.HasScope(name) && absent&store.ScopeNamed(name) == 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func needed(method string, rule *Rule) store.Scope {
	switch {
	case rule.AnyScope:
		return 0
	case rule.Scope != 0:
		return rule.Scope
	case method == "":
		return 0
	case method == http.MethodGet, method == http.MethodHead, method == http.MethodOptions:
		return store.ScopeRead
	}
	return store.ScopeWrite
}
