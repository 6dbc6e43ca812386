package httpapi

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"sync"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// IdempotencyHeader makes a POST safe to repeat for 24 h.
const IdempotencyHeader = "Idempotency-Key"

// maxIdempotencyKey bounds the header's value, in bytes.
const maxIdempotencyKey = 255

// inFlight holds the scopes of repeatable calls that this node is working on;
// it is bounded by the calls in progress. Across nodes apply decides: the second
// of two finds the first one's result.
type inFlight struct {
	mu   sync.Mutex
	busy map[store.Hash]struct{}
}

// begin reports whether scope was free, and takes it.
func (f *inFlight) begin(scope store.Hash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.busy[scope]; taken {
		return false
	}
	if f.busy == nil {
		f.busy = map[store.Hash]struct{}{}
	}
	f.busy[scope] = struct{}{}
	return true
}

func (f *inFlight) end(scope store.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, scope)
}

// repeatable gives the call its Once if it is a POST with an Idempotency-Key.
// Calls that store nothing ignore the header.
func (c *call) repeatable(body []byte) error {
	keys := c.r.Header.Values(IdempotencyHeader)
	if c.r.Method != http.MethodPost || len(keys) == 0 || c.route.access&unmetered != 0 {
		return nil
	}
	if len(keys) > 1 || !visible(keys[0], maxIdempotencyKey) {
		return fault.Newf(fault.InvalidRequest, "%s: want one value of 1–%d visible ASCII characters.", IdempotencyHeader, maxIdempotencyKey)
	}
	scope := digest(string(c.caller.actor.Type), c.caller.actor.ID, string(c.account), c.r.Method, c.r.URL.Path, keys[0])
	if !c.pending.begin(scope) {
		return &fault.Error{Code: fault.IdempotencyInProgress, RetryAfter: 1}
	}
	c.done = append(c.done, func() { c.pending.end(scope) })
	c.once = &store.Once{Scope: scope, Body: digest(c.r.URL.RawQuery, string(body))}
	return nil
}

// digest hashes parts so that no two lists of parts collide.
func digest(parts ...string) (out store.Hash) {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	h.Sum(out[:0])
	return out
}

// visible holds for 1–limit visible ASCII characters.
func visible(s string, limit int) bool {
	if len(s) == 0 || len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
