package admit

import (
	"errors"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// Mover learns of keys that were found under the retired pepper, to have them hashed again
// under that of the generation. It must not block.
type Mover interface {
	Move(generation uint64, key store.Rehash)
}

// keyring leads from secrets to keys. It is safe for concurrent use.
type keyring struct {
	store   Store
	mover   Mover                   // nil: keys stay where they are
	peppers atomic.Pointer[hashers] // replaced when the peppers change
}

// hashers hash under the peppers of one reading of the settings.
type hashers struct {
	of      store.Peppers // not Unsettled
	current *apikey.Hasher
	retired *apikey.Hasher // nil unless the pepper is rotated
}

// secret is a credential of which only sums are left.
type secret struct {
	sum  [32]byte
	hash store.Hash // under the current pepper
	by   *hashers
	// judged says that its form is right: a hasher then remembers it, and its form is not
	// judged again.
	judged bool
	at     store.Hash // under which find found the key
}

// hashers returns those of the peppers in force, which change when the cluster is
// initialized, restored from the backup of another, or when the pepper is rotated.
func (r *keyring) hashers() *hashers { return r.hashersOf(r.store.Peppers()) }

func (r *keyring) hashersOf(p store.Peppers) *hashers {
	p.Unsettled = false
	was := r.peppers.Load()
	if was != nil && was.of == p {
		return was
	}
	// A hasher remembers keys in use: after a rotation that of the retired pepper goes on.
	hasher := func(pepper store.Hash) *apikey.Hasher {
		switch {
		case was != nil && was.current.Pepper() == pepper:
			return was.current
		case was != nil && was.retired != nil && was.retired.Pepper() == pepper:
			return was.retired
		}
		return apikey.NewHasher(pepper)
	}
	h := &hashers{of: p, current: hasher(p.Current)}
	if p.Rotating {
		h.retired = hasher(p.Retired)
	}
	r.peppers.Store(h)
	return h
}

// unjudged hashes a sum whose credential may have any form.
func (h *hashers) unjudged(sum *[32]byte) secret {
	s := secret{sum: *sum, by: h}
	s.hash = s.hashBy(h.current)
	return s
}

func (s *secret) hashBy(h *apikey.Hasher) store.Hash {
	if hash, ok := h.Known(&s.sum); ok {
		return hash
	}
	if s.judged {
		return h.Hash(&s.sum)
	}
	return apikey.HashSum(h.Pepper(), s.sum)
}

// errUnsettled is the fault of a key that is not found while another state is put in place.
var errUnsettled = errors.New("the state of the node is being replaced")

// find returns the key of a secret, nil if it is unknown. Nothing else leads from a secret to
// a key. While the pepper is rotated it looks under both; a key that it finds under the
// retired one is handed to the mover.
//
// Keys move from the retired pepper to the current one, never back. So one that is found
// under neither, in this order: retired, current, was under neither, unless the pepper was
// rotated again meanwhile; then find begins again.
func (r *keyring) find(s *secret) (*store.Record, error) {
	for {
		rec, err := r.under(s)
		if rec != nil || err != nil {
			return rec, err
		}
		now := r.store.Peppers()
		if now.Unsettled {
			return nil, errUnsettled
		}
		by := r.hashersOf(now)
		if by.of == s.by.of {
			return nil, nil
		}
		s.by, s.hash = by, s.hashBy(by.current)
	}
}

// under looks s up under the peppers that it was hashed by.
func (r *keyring) under(s *secret) (*store.Record, error) {
	s.at = s.hash
	rec, err := r.store.Lookup(s.hash)
	if rec != nil || err != nil || s.by.retired == nil {
		return rec, err
	}
	old := s.hashBy(s.by.retired)
	if rec, err = r.store.Lookup(old); rec != nil && err == nil {
		s.at = old
		if r.mover != nil {
			r.mover.Move(s.by.of.Generation, store.Rehash{ID: rec.ID, Hash: s.hash})
		}
		return rec, nil
	}
	if err != nil {
		return nil, err
	}
	return r.store.Lookup(s.hash) // it may have moved since the first look
}

// Find returns the key whose SHA-256 is sum, nil if it is unknown, as admission does. The
// form of the key is not judged.
func (g *Gate) Find(sum [32]byte) (*store.Record, error) {
	s := g.keys.hashers().unjudged(&sum)
	return g.keys.find(&s)
}

// lookup fills in the key of s and the current state of its account.
func (p *Pass) lookup(g *Gate, s *secret) *fault.Error {
	rec, err := g.keys.find(s)
	if err != nil {
		return lookupFault(err)
	}
	p.sum, p.hash = s.sum, s.at
	p.take(rec)
	return nil
}

// take fills in a key, if there is one.
func (p *Pass) take(rec *store.Record) {
	if rec != nil {
		p.Record, p.Account = rec, rec.Account.Load()
	}
}
