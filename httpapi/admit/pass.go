package admit

import (
	"net/netip"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Rule is what the thing asked for demands of a caller: a proxied route, or a
// call of the management API.
type Rule struct {
	Route   string   // the pattern, as it stands in a key's routes and in the audit log
	Public  bool     // no key is asked for
	Require []string // custom scopes, all of them
	// Scope is the built-in scope that is needed. 0 means by method: read for
	// GET, HEAD and OPTIONS, write for others.
	Scope      store.Scope
	Management bool // route patterns and browser policy do not apply
}

// Pass is what is known of an admitted request. The credential itself is not in it.
type Pass struct {
	Record  *store.Record
	Account *store.AccountState // as it was when the request was judged
	Client  netip.Addr
	Limits  limiter.Decision // after Charge
	Exposed bool             // a live key sent by a browser, tolerated by policy "alert"
}
