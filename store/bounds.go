package store

import "github.com/perfgate/perfgate/limiter"

// The bounds of the values that users may set. The API checks them first, so that it can
// name the value; apply checks them again, so that no node depends on another
// one's checks. Lengths of texts are bounded in characters by the API and in
// bytes, four times as many, by apply.
const (
	MinRetention     = 7 // days that an account's audit events are kept
	DefaultRetention = 30
	MaxRetention     = 90

	MaxAllowlist = 100_000 // entries of an account's allowlist
	MaxImport    = 10_000  // keys of one import, and ids of one bulk revocation

	// Bounds of one account's keys for calls of its own keys. An operator may go beyond.
	MaxHeldKeys  = 100_000
	MaxHeldBytes = 64 << 20

	MaxScopes      = 50 // of a key
	MaxRoutes      = 100
	MaxKeyPrefixes = 1_000 // of a key's own allowlist
	MaxMetadata    = 50    // pairs of a key
	MaxAlerts      = 10    // alert thresholds of an account

	MaxRequests = 1_000_000_000_000 // of any limit
	MaxInFlight = 1_000_000         // of a key, on a node
	// MaxPerMinute bounds a new limit per minute and a burst: a bucket holds no more. A
	// larger one of an earlier version counts as this one; see [limiter.Limit.Bounded].
	MaxPerMinute = limiter.MaxBurst
	MaxAmount    = 9_000_000 * MoneyUnit // of a cost or budget; JSON numbers hold its billionths exactly
)
