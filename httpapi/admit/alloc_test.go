//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package admit

import "testing"

func TestHotPathAllocatesNothing(t *testing.T) {
	h := newHarness(t)
	h.limits(100_000_000, 1_000_000_000)
	key := h.key(nil)
	r := post(key, nil)
	h.send(key, 1)
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		p, f := h.Check(r, here, chat, noon)
		if f != nil || h.Charge(ctx, &p, 1, 0, noon) != nil {
			t.Fatal("refused")
		}
	})
	if n >= 1 { // a chunk of the month may be asked for now and then
		t.Errorf("%v allocations", n)
	}
}
