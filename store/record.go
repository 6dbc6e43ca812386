package store

import (
	"time"

	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/limiter"
)

// Scope is a bit set of the scopes that perfgate itself knows; custom scopes
// are in [Record.Custom].
type Scope uint8

// The built-in scopes.
const (
	ScopeRead Scope = 1 << iota
	ScopeWrite
	ScopeVerify
	ScopeLimit
	ScopeAdmin
)

// Record is the part of a key that admission reads: compact, immutable, shared
// through the cache. Times are Unix nanoseconds, 0 meaning never.
type Record struct {
	ID      KeyID
	Account *Cell
	Expires int64
	Overlap int64 // end of a rotation's overlap
	Revoked int64
	Created uint64 // Raft index of the creation; a bucket of an older key is unknown after a crash
	// Extra is never nil in a record from the store, and shared by all keys with
	// the same settings: most keys have none, and a million of them shall not
	// cost 100 MB.
	*Extra
	Type     KeyType
	Disabled bool
	Scopes   Scope
}

// Extra holds what few keys set; all of it zero restricts nothing.
type Extra struct {
	Limit   limiter.Limit // the key's own
	Custom  []string      // custom scopes, sorted
	Allow   *bart.Lite    // nil allows every address
	Routes  []string      // route patterns; empty allows all
	MaxCost Money         // 0 = none set
	Budget  Money         // a month; 0 = none set
}

// State derives the record's state as [Key.State] does.
func (r *Record) State(now time.Time) KeyState {
	n := now.UnixNano()
	switch {
	case r.Revoked != 0, r.Overlap != 0 && n >= r.Overlap:
		return Revoked
	case r.Expires != 0 && n >= r.Expires:
		return Expired
	case r.Disabled:
		return Disabled
	case r.Overlap != 0:
		return Rotating
	}
	return Active
}
