package admit

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Rule is the demand that a proxied route, or a call of the management API, makes
// of a caller.
type Rule struct {
	Route   string   // the pattern, as it stands in a key's routes and in the audit log
	Public  bool     // no key is asked for
	Require []string // scopes, custom or built-in, all of them, in addition to Scope
	// Scope is the built-in scope that is needed. 0 means by method: read for
	// GET, HEAD and OPTIONS, write for others.
	Scope      store.Scope
	Management bool // route patterns and browser policy do not apply
	AnyScope   bool // any valid key may make the call: Scope is not asked for
	// PassAuthorization leaves Authorization to the upstream where the key came in
	// the configured key header.
	PassAuthorization bool
}

// Missing names the scopes that a key with scopes lacks for a request by method, as [decide]
// judges it; none if it may be made. A key is never stored without scopes.
func (r *Rule) Missing(method string, scopes []string) []string {
	builtin, custom := store.SplitScopes(scopes)
	slices.Sort(custom)
	rec := &store.Record{Scopes: builtin, Extra: &store.Extra{Custom: custom}}
	if scopesHeld(rec, method, r) {
		return nil
	}
	return strings.Fields(missingScopes(rec, method, r))
}

// Pass is everything known of a request that was judged. The credential itself is
// not in it.
type Pass struct {
	Record  *store.Record       // the key; nil if none was recognised
	Account *store.AccountState // as it was when the request was judged
	Client  netip.Addr
	// Valid says that the key is known and neither revoked, expired nor disabled:
	// responses then carry Limits, also when something else refuses the request.
	Valid   bool
	Limits  limiter.Decision // after Charge, or a look if the request was refused before
	Exposed bool             // a live key sent by a browser, tolerated by policy "alert"
	Hint    string           // of a credential that was refused, for the audit log
	// UpstreamsOwn says that the request's Authorization is for the upstream.
	UpstreamsOwn bool
	sum          [32]byte   // of the key, for Still
	hash         store.Hash // under which it was found

	method, path, route string // of the request, for rules; empty of a management call
	counted             string // limiter.Ask.Key of the charge
	inFlight            bool   // counted by Gate.inFlight
	asked               int    // questions to other nodes for units
}
