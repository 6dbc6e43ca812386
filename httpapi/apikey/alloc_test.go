//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package apikey

import "testing"

func TestHasherAllocatesNothing(t *testing.T) {
	h, key := NewHasher([32]byte{1}), New(LivePrefix)
	if n := testing.AllocsPerRun(100, func() { h.Hash(key) }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}
