//go:build !race

// The race detector makes sync.Pool forget at random, which allocates.

package admit

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
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

// Near a limit, a watched request allocates nothing, as any other.
func TestWatchedPathAllocatesNothing(t *testing.T) {
	h := newHarness(t)
	h.cfg.Watcher = new(silent)
	h.limits(100_000_000, 1_000_000_000)
	h.apply(&store.Command{Change: &store.AccountUpdate{Alerts: &[]int{1}}})
	key := h.key(nil)
	r := h1.RequestOf(post(key, nil))
	h.send(key, 20_000_000)
	n := testing.AllocsPerRun(1000, func() {
		p, f := h.Gate.Check(t.Context(), r, here, chat, noon)
		if f != nil || h.Charge(t.Context(), &p, 1, 0, noon) != nil {
			t.Fatal("refused")
		}
	})
	if n >= 1 {
		t.Errorf("%v allocations", n)
	}
	if h.cfg.Watcher.(*silent).spent < 1000 {
		t.Error("the watcher was not asked")
	}
}

// silent only counts.
type silent struct {
	told
	spent int
}

func (w *silent) Spent(*store.Record, Spent) { w.spent++ }
