//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package apikey

import (
	"strings"
	"testing"
)

// A hot key costs no allocation; one that is hashed again costs one, for its
// entry.
func TestHasherAllocations(t *testing.T) {
	h, key := NewHasher([32]byte{1}), New(LivePrefix)+strings.Repeat("x", MaxForeignLen-Len) // the longest
	sum := Sum(key)
	if n := testing.AllocsPerRun(100, func() { h.Hash(&sum) }); n > 1 {
		t.Fatalf("Hash: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { sum = Sum(key); h.Known(&sum) }); n > 0 {
		t.Fatalf("Known: %v allocations", n)
	}
}
