package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// Hasher computes [Hash] under one pepper without allocating: keyed HMAC states
// are derived once and reused. It is safe for concurrent use.
type Hasher struct {
	pepper [32]byte
	pool   sync.Pool // of *hasherState
}

// hasherState is one keyed state with the memory that a hash passes through;
// what escapes through [hash.Hash] must be on the heap, so it stays with it.
type hasherState struct {
	mac hash.Hash
	key [MaxForeignLen]byte
	sum [sha256.Size]byte
}

// NewHasher returns a hasher for pepper.
func NewHasher(pepper [32]byte) *Hasher {
	h := &Hasher{pepper: pepper}
	h.pool.New = func() any { return &hasherState{mac: hmac.New(sha256.New, h.pepper[:])} }
	return h
}

// Pepper is what the hasher was made with.
func (h *Hasher) Pepper() [32]byte { return h.pepper }

// Hash is [Hash] of key. No copy of the key is left behind in the pool.
func (h *Hasher) Hash(key string) [32]byte {
	if len(key) > MaxForeignLen {
		return Hash(h.pepper, key) // no such key exists; any answer is as good as another
	}
	s := h.pool.Get().(*hasherState)
	n := copy(s.key[:], key)
	s.sum = sha256.Sum256(s.key[:n])
	clear(s.key[:n])
	s.mac.Reset()
	s.mac.Write(s.sum[:])
	s.mac.Sum(s.sum[:0])
	out := s.sum
	clear(s.sum[:])
	h.pool.Put(s)
	return out
}
