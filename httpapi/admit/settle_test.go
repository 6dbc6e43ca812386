package admit

import (
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

func TestSettle(t *testing.T) {
	h := newHarness(t)
	key := h.key(func(k *store.Key) { k.MonthlyBudget = ptr(store.Money(100)) })
	spend := func(reserve, actual store.Money) fault.Code {
		p, f := h.Check(post(key, nil), here, chat, h.now)
		if f != nil {
			t.Fatal(f)
		}
		if f := h.Charge(t.Context(), &p, 1, reserve, h.now); f != nil {
			return f.Code
		}
		h.Settle(&p, reserve, actual)
		return ""
	}
	for i := range 10 {
		if got := spend(60, 10); got != "" {
			if i >= 5 {
				break // 50 spent: 60 more cannot be reserved
			}
			t.Fatalf("call %d of 10 each: %s", i+1, got)
		}
	}
	if got := spend(50, 49); got != "" {
		t.Fatalf("the unspent part did not come back: %s", got)
	}
	if got := spend(1, 30); got != "" {
		t.Fatalf("the last one: %s", got)
	}
	if got := spend(0, 0); got != fault.BudgetExceeded {
		t.Fatalf("in debt: %q", got)
	}
}

// A request that began before the turn of a month, and that is charged after a request
// of the new one, is settled in the month that it was charged to.
func TestSettleAtTheTurnOfAMonth(t *testing.T) {
	h := newHarness(t)
	key := h.key(func(k *store.Key) { k.MonthlyBudget = ptr(store.Money(100)) })
	turn := time.Date(h.now.Year(), h.now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	h.pass(turn.Sub(h.now))
	charge := func(reserve store.Money, began time.Time) Pass {
		p, f := h.Check(post(key, nil), here, chat, began)
		if f == nil {
			f = h.Charge(t.Context(), &p, 1, reserve, began)
		}
		if f != nil {
			t.Fatalf("a reserve of %d at %v: %v", reserve, began, f)
		}
		return p
	}
	h.Settle(ptr(charge(60, turn)), 60, 1)
	for range 20 {
		h.Settle(ptr(charge(60, turn.Add(-time.Second))), 60, 1)
	}
	charge(79, turn)
}
