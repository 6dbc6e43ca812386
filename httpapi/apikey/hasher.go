package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"sync/atomic"
)

// Hasher computes [Hash] under one pepper: keyed HMAC states are derived once and
// reused, and the hashes of the keys in use are remembered. It is safe for concurrent use.
type Hasher struct {
	pepper [32]byte
	pool   sync.Pool // of *hasherState
	known  [knownSets][knownWays]atomic.Pointer[knownKey]
}

// knownSets times knownWays is how many hashes [Hasher.Known] remembers at most: 72
// bytes each, 1.3 MB in all. With one way, of a thousand keys in use sixty would take
// each other's place all the time; with two, one or two do.
const (
	knownSets = 1 << 13
	knownWays = 2
)

// knownKey is the memory of a key that was hashed: never the key.
type knownKey struct{ sum, hash [sha256.Size]byte }

// hasherState is one keyed state with the memory that a hash passes through;
// arguments of [hash.Hash] escape to the heap, so they stay with it.
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

// Pepper is the pepper of the hasher.
func (h *Hasher) Pepper() [32]byte { return h.pepper }

// Known is [Hasher.Hash] of a key that was hashed a short while ago: a SHA-256
// and a comparison instead of judging its form and an HMAC, half of the time that
// a hot key takes.
func (h *Hasher) Known(key string) (hash [32]byte, ok bool) {
	var b [shortKey]byte
	if len(key) > len(b) {
		return hash, false
	}
	sum := sha256.Sum256(b[:copy(b[:], key)])
	for i := range knownWays {
		if k := h.set(&sum)[i].Load(); k != nil && k.sum == sum {
			return k.hash, true
		}
	}
	return hash, false
}

// shortKey is as long as a key may be to be remembered: one block of SHA-256.
const shortKey = 55

func (h *Hasher) set(sum *[32]byte) *[knownWays]atomic.Pointer[knownKey] {
	return &h.known[binary.LittleEndian.Uint64(sum[:])%knownSets]
}

// remember puts k first in its set, in place of the one that came there before the
// last. Two at once may lose one of them, which is hashed again.
func (h *Hasher) remember(k *knownKey) {
	set := h.set(&k.sum)
	if first := set[0].Swap(k); first != nil && first.sum != k.sum {
		set[1].Store(first)
	}
}

// Hash is [Hash] of key, which [Hasher.Known] then knows, until another takes
// its place. No copy of the key is left behind in the pool.
func (h *Hasher) Hash(key string) [32]byte {
	if len(key) > MaxForeignLen {
		return Hash(h.pepper, key) // no such key exists; any answer is as good as another
	}
	s := h.pool.Get().(*hasherState)
	n := copy(s.key[:], key)
	s.sum = sha256.Sum256(s.key[:n])
	clear(s.key[:n])
	sum := s.sum
	s.mac.Reset()
	s.mac.Write(s.sum[:])
	s.mac.Sum(s.sum[:0])
	out := s.sum
	clear(s.sum[:])
	h.pool.Put(s)
	if len(key) <= shortKey {
		h.remember(&knownKey{sum, out})
	}
	return out
}
