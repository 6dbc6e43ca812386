//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package h1

import (
	"strings"
	"testing"
)

func TestTextOfAllocates(t *testing.T) {
	head := []byte(strings.Repeat("x", 200))
	if n := testing.AllocsPerRun(1000, func() { textOf(head) }); n > 0.5 {
		t.Errorf("%v allocations a text, want one for each block", n)
	}
}
