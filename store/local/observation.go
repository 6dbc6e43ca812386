package local

import (
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Observation is one finished (or refused) request, as the request path saw it:
// the single source of request audit, usage counters and last use. It holds no
// credential: whatever may hold one is masked before.
type Observation struct {
	At        time.Time
	Duration  time.Duration
	RequestID string
	Method    string
	Route     string // the route's pattern; "" if none matched
	Status    int
	Code      string // the fault's code; "" for an admitted request
	Client    netip.Addr
	UserAgent string // at most 256 bytes are kept
	Trail

	// Of the key, where one was recognised; otherwise zero.
	Account     store.AccountID
	Key         store.KeyID
	Type        store.KeyType
	Hint        string // of a credential that was refused, never the credential
	Units       int64
	Cost        store.Money
	Management  bool   // a management call: counted nowhere; a change is audited by its command
	Action      string // "" means "request"; a management call without one leaves no event
	Environment string // "" asks Config.Environment when usage is read

	// Actor is the caller; the zero value means Key. Where there is a Hint, it
	// stands in the event in place of the actor's name.
	Actor store.Actor
}

// Trail records where a proxied request came from and how it was handled.
type Trail struct {
	Country  string // ISO 3166 alpha-2, from a trusted header; "" asks Config.Country
	Path     string // as sent, without the query; at most 512 bytes are kept
	Upstream string // the base URL of the last attempt; "" if there was none
	Attempts int    // at upstreams
	Errors   string // codes of the attempts that failed, with commas between them; at most 128 bytes are kept
	Failure  string // the code of an upstream's fault; Status is 5xx then
	Sent     int64  // bytes of the response's body; not kept
	// Limits are the policies that refused the request, or would have; nil if there are none.
	Limits *store.EventLimits
}

// requestFlags are the flags of o's value but for those of its actor.
func requestFlags(o *Observation, whole bool) (flags byte) {
	if o.Type == store.Live {
		flags |= flagLive
	}
	if o.wouldRefuse() {
		flags |= flagWould
	}
	if whole && o.Limits != nil {
		flags |= flagLimits
		if o.Limits.Shared != nil {
			flags |= flagShared
		}
	}
	if o.failed() {
		flags |= flagFailed
	}
	if CountryOf(o.Country) != (Country{}) {
		flags |= flagPlace
	}
	return flags
}
