package rest

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
// of two calls gets the result of the first.
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

// repeat holds the identities that make a call repeatable; both are nil where the client did not ask for it.
type repeat struct {
	once  *store.Once // of the next command; set by the first read of a body
	first *store.Once // of the first of several commands
}

// repeatable gives the call its Once if it is a POST with an Idempotency-Key.
// Calls that store nothing ignore the header.
func (c *Call) repeatable(body []byte) error {
	keys := c.Request.Header.Values(IdempotencyHeader)
	if c.Request.Method != http.MethodPost || len(keys) == 0 || c.Route.Access&Unmetered != 0 {
		return nil
	}
	if len(keys) > 1 || !Visible(keys[0], maxIdempotencyKey) {
		return fault.Newf(fault.InvalidRequest, "%s: must be one value of 1–%d visible ASCII characters.", IdempotencyHeader, maxIdempotencyKey)
	}
	scope := digest(string(c.Caller.Actor.Type), c.Caller.Actor.ID, string(c.Account), c.Request.Method, c.Request.URL.Path, keys[0])
	pending := &c.frame.pending
	if !pending.begin(scope) {
		return &fault.Error{Code: fault.IdempotencyInProgress, RetryAfter: 1}
	}
	c.done = append(c.done, func() { pending.end(scope) })
	c.repeat.once = &store.Once{Scope: scope, Body: digest(c.Request.URL.RawQuery, string(body))}
	return nil
}

// Repeated reports whether the call repeats one whose result is stored. A condition that
// held for the first call may hold no longer, such as that a key expires in the future;
// that is no reason to refuse the repeat.
func (c *Call) Repeated() bool {
	if c.repeat.once == nil {
		return false
	}
	yes, err := c.frame.cfg.Store.Repeated(c.repeat.once, c.Now)
	return yes && err == nil // apply reads it again and reports the error
}

// Continue gives the next command of a call that takes several an identity of its
// own, derived from the call's and from pos. A repeat of the call that takes the
// same steps finds the result of each.
func (c *Call) Continue(pos string) {
	if c.repeat.once == nil {
		return
	}
	if c.repeat.first == nil {
		c.repeat.first = c.repeat.once
	}
	c.repeat.once = &store.Once{Scope: digest(string(c.repeat.first.Scope[:]), pos), Body: c.repeat.first.Body}
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

// Visible holds for 1–limit visible ASCII characters.
func Visible(s string, limit int) bool {
	if len(s) == 0 || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
