package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"sync/atomic"
	"unsafe"
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

// Sum is the SHA-256 of key, from which a [Hasher] makes its hash. It reads the key in
// place: nothing of it is copied to the heap.
func Sum(key string) [32]byte { return sha256.Sum256(unsafe.Slice(unsafe.StringData(key), len(key))) }

// Known is [Hasher.Hash] of a sum that was hashed a short while ago: a comparison
// instead of judging the key's form and an HMAC, which take most of the time.
func (h *Hasher) Known(sum *[32]byte) (hash [32]byte, ok bool) {
	set := h.set(sum)
	for i := range knownWays {
		if k := set[i].Load(); k != nil && k.sum == *sum {
			return k.hash, true
		}
	}
	return hash, false
}

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

// Hash is [HashSum] of sum, which [Hasher.Known] then knows, until others take its place.
func (h *Hasher) Hash(sum *[32]byte) [32]byte {
	s := h.pool.Get().(*hasherState)
	s.sum = *sum
	s.mac.Reset()
	s.mac.Write(s.sum[:])
	s.mac.Sum(s.sum[:0])
	out := s.sum
	clear(s.sum[:])
	h.pool.Put(s)
	h.remember(&knownKey{*sum, out})
	return out
}
