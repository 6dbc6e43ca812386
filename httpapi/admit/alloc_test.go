//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package admit

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/h1"
)

func TestHotPathAllocatesNothing(t *testing.T) {
	h := newHarness(t)
	h.limits(100_000_000, 1_000_000_000)
	key := h.key(nil)
	r := h1.RequestOf(post(key, nil))
	h.send(key, 1)
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		p, f := h.Gate.Check(ctx, r, here, chat, noon)
		if f != nil || h.Charge(ctx, &p, 1, 0, noon) != nil {
			t.Fatal("refused")
		}
	})
	if n >= 1 { // a chunk of the month may be asked for now and then
		t.Errorf("%v allocations", n)
	}
}
