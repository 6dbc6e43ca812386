package store

import (
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/limiter"
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
	// the same settings and lineage: most keys have none, and a million of them shall not
	// cost 100 MB.
	*Extra
	Type     KeyType
	Disabled bool
	Scopes   Scope
	detail   atomic.Pointer[Detail] // nil until [Store.Detail] is asked for it
}

// Extra holds settings that few keys have; all of it zero restricts nothing.
type Extra struct {
	Limit   limiter.Limit // the key's own
	Custom  []string      // custom scopes, sorted
	Allow   *bart.Lite    // nil allows every address
	Routes  Routes        // nil allows all
	MaxCost Money         // 0 = none set
	Budget  Money         // a month; 0 = none set
	Lineage Lineage       // as whose key this one is counted; zero: as itself

	MaxConcurrent int64 // requests in flight on a node; 0: as the account sets
}

// Counted is the key as which r's own limits and its budget are counted: all keys of
// a chain of rotations share one count.
func (r *Record) Counted() Lineage {
	if r.Lineage.ID != "" {
		return r.Lineage
	}
	return Lineage{ID: r.ID, Created: r.Created}
}

// Routes are the compiled route patterns of a key, made by [Config.Routes]. They
// are immutable and shared by every record with the same settings.
type Routes interface {
	// Allow reports whether the key may be used for a request. Method and path
	// (percent-encoded) are as the client sent them; route is the pattern of the
	// configured route that matched. Each is "" where it is not known.
	Allow(method, path, route string) bool
}

// noRoutes is the fallback of a store without [Config.Routes]: a restriction
// that cannot be read allows nothing.
type noRoutes struct{}

func (noRoutes) Allow(_, _, _ string) bool { return false }

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
