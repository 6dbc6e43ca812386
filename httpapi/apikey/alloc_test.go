//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package apikey

import "testing"

// A hot key costs no allocation; one that is hashed again costs one, for its
// entry.
func TestHasherAllocations(t *testing.T) {
	h, key := NewHasher([32]byte{1}), New(LivePrefix)
	if n := testing.AllocsPerRun(100, func() { h.Hash(key) }); n > 1 {
		t.Fatalf("Hash: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { h.Known(key) }); n > 0 {
		t.Fatalf("Known: %v allocations", n)
	}
}
