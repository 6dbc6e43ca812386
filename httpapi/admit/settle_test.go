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

// A refunded request leaves nothing on any month or budget, however often: a limit of one
// request holds for the next. The minute keeps its charge.
func TestRefund(t *testing.T) {
	const one = store.MoneyUnit
	for name, c := range map[string]struct {
		account, key store.Limits
		budget       *store.Money
		refunded     bool
		code         fault.Code
	}{
		"account's month":  {account: store.Limits{PerMonth: ptr(int64(1))}, refunded: true, code: fault.RequestsPerMonth},
		"key's month":      {key: store.Limits{PerMonth: ptr(int64(1))}, refunded: true, code: fault.RequestsPerMonth},
		"budget":           {budget: ptr(one), refunded: true, code: fault.BudgetExceeded},
		"account's minute": {account: store.Limits{PerMinute: ptr(int64(1))}, code: fault.RequestsPerMinute},
		"key's minute":     {key: store.Limits{PerMinute: ptr(int64(1))}, code: fault.RequestsPerMinute},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.apply(&store.Command{Change: &store.AccountUpdate{Limits: &c.account}})
			key := h.key(func(k *store.Key) { k.Limits, k.MonthlyBudget = &c.key, c.budget })
			charge := func() (Pass, fault.Code) {
				p, f := h.Check(post(key, nil), here, chat, h.now)
				if f != nil {
					t.Fatal(f)
				}
				return p, code(h.Charge(t.Context(), &p, 1, one, h.now))
			}
			for i := range 5 {
				p, refused := charge()
				if want := i == 0 || c.refunded; (refused == "") != want {
					t.Fatalf("request %d after refunds: %q, want admitted: %v", i+1, refused, want)
				}
				if refused == "" {
					h.Refund(&p, 1, one)
				}
			}
			if !c.refunded {
				return
			}
			for i, want := range []fault.Code{"", c.code} {
				if _, refused := charge(); refused != want {
					t.Errorf("request %d without a refund: %q, want %q", i+1, refused, want)
				}
			}
		})
	}
}

// A request without a key was charged nothing, and there is nothing to give back.
func TestNoKeyNoSettlement(t *testing.T) {
	h := newHarness(t)
	p := Pass{Client: here}
	if f := h.Charge(t.Context(), &p, 1, 1, h.now); f != nil {
		t.Fatal(f)
	}
	h.Settle(&p, 1, 2)
	h.Refund(&p, 1, 1)
}
