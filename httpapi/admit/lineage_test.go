package admit

import (
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// While both keys of a rotation are valid, and afterwards, they share the key's own
// minute, month and budget.
func TestRotationSharesLimits(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*store.Key)
		code fault.Code
	}{
		"minute": {func(k *store.Key) { k.Limits = &store.Limits{PerMinute: ptr(int64(6))} }, fault.RequestsPerMinute},
		"month":  {func(k *store.Key) { k.Limits = &store.Limits{PerMonth: ptr(int64(6))} }, fault.RequestsPerMonth},
		"budget": {func(k *store.Key) { k.MonthlyBudget = ptr(6 * store.MoneyUnit) }, fault.BudgetExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			secrets := []string{h.key(func(k *store.Key) { k.ID = "key_0"; c.set(k) })}
			charge := func(secret string) *fault.Error {
				p, f := h.Check(post(secret, nil), here, chat, h.now)
				if f != nil {
					return f
				}
				return h.Charge(t.Context(), &p, 1, store.MoneyUnit, h.now)
			}
			for i, id := range []store.KeyID{"key_1", "key_2"} {
				next := apikey.New(apikey.LivePrefix)
				for _, secret := range secrets[max(0, len(secrets)-2):] {
					if f := charge(secret); f != nil {
						t.Fatalf("before rotation %d: %v", i, f)
					}
				}
				h.apply(&store.Command{Change: &store.KeyRotate{
					ID: store.KeyID("key_" + string(rune('0'+i))), New: id, Hash: apikey.Hash(h.store.Pepper(), next), Hint: "h",
					OverlapEndsAt: h.now.Add(24 * time.Hour), Counts: true,
				}})
				secrets = append(secrets, next)
			}
			// Three of six are left.
			for i := range 3 {
				if f := charge(secrets[(i+1)%3]); f != nil {
					t.Fatalf("request %d of those left: %v", i, f)
				}
			}
			for i, secret := range secrets {
				if f := charge(secret); code(f) != c.code {
					t.Errorf("key %d: %v, want %s", i, f, c.code)
				}
			}
		})
	}
}

// Charges of both keys of a rotation, and of a key that was rotated since, are settled and
// refunded on the counts that they share: the rest is there for the others, exactly.
func TestRotationSharesSettlements(t *testing.T) {
	const cost = store.Money(3) // of a request, which is settled at 1 or 4
	for name, c := range map[string]struct {
		set    func(*store.Key)
		settle func(h *harness, p *Pass)
		code   fault.Code
		free   int // requests that pass afterwards, of 6
	}{
		"refunded month":  {func(k *store.Key) { k.Limits = &store.Limits{PerMonth: ptr(int64(6))} }, func(h *harness, p *Pass) { h.Refund(p, 1, cost) }, fault.RequestsPerMonth, 6},
		"refunded budget": {func(k *store.Key) { k.MonthlyBudget = ptr(6 * cost) }, func(h *harness, p *Pass) { h.Refund(p, 1, cost) }, fault.BudgetExceeded, 6},
		"settled at less": {func(k *store.Key) { k.MonthlyBudget = ptr(6 * cost) }, func(h *harness, p *Pass) { h.Settle(p, cost, 1) }, fault.BudgetExceeded, 5},
		"settled at more": {func(k *store.Key) { k.MonthlyBudget = ptr(6 * cost) }, func(h *harness, p *Pass) { h.Settle(p, cost, 4) }, fault.BudgetExceeded, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			secrets := []string{h.key(func(k *store.Key) { k.ID = "key_0"; c.set(k) })}
			charge := func(secret string) (Pass, *fault.Error) {
				p, f := h.Check(post(secret, nil), here, chat, h.now)
				if f == nil {
					f = h.Charge(t.Context(), &p, 1, cost, h.now)
				}
				return p, f
			}
			var underWay []Pass
			begin := func(i int) {
				p, f := charge(secrets[i])
				if f != nil {
					t.Fatalf("key %d: %v", i, f)
				}
				underWay = append(underWay, p)
			}
			begin(0) // is under way over both rotations
			for i, id := range []store.KeyID{"key_1", "key_2"} {
				secret := apikey.New(apikey.LivePrefix)
				h.apply(&store.Command{Change: &store.KeyRotate{
					ID: store.KeyID("key_" + string(rune('0'+i))), New: id, Hash: apikey.Hash(h.store.Pepper(), secret), Hint: "h",
					OverlapEndsAt: h.now.Add(24 * time.Hour), Counts: true,
				}})
				secrets = append(secrets, secret)
			}
			begin(1)
			begin(2)
			for i := range underWay {
				c.settle(h, &underWay[i])
			}
			for i := range c.free + 1 {
				_, f := charge(secrets[2-i%2])
				if want := i < c.free; (f == nil) != want || !want && code(f) != c.code {
					t.Fatalf("request %d of %d that are free: %v", i+1, c.free, f)
				}
			}
		})
	}
}

// Ten malformed bodies of an account's keys are forgiven in a row, and ten more an hour.
// Another account has its own.
func TestForgive(t *testing.T) {
	h := newHarness(t)
	h.apply(&store.Command{Account: "acct_1", Change: &store.AccountCreate{Account: store.Account{ID: "acct_1", Name: "one", Tier: "pro"}}})
	other := h.key(func(k *store.Key) { k.Account = "acct_1" })
	old, second := h.key(func(k *store.Key) { k.ID, k.MonthlyBudget = "key_0", ptr(store.MoneyUnit) }), h.key(nil)
	next := apikey.New(apikey.LivePrefix)
	h.apply(&store.Command{Change: &store.KeyRotate{
		ID: "key_0", New: "key_1", Hash: apikey.Hash(h.store.Pepper(), next), Hint: "h", OverlapEndsAt: h.now.Add(24 * time.Hour), Counts: true,
	}})
	forgives := func(secret string) bool {
		p, f := h.Check(post(secret, nil), here, chat, h.now)
		if f != nil {
			t.Fatal(f)
		}
		return h.Forgive(&p)
	}
	for i := range 10 {
		if !forgives([]string{old, next, second}[i%3]) {
			t.Fatalf("malformed body %d is not forgiven", i+1)
		}
	}
	if forgives(old) || forgives(next) || forgives(second) {
		t.Error("an eleventh is forgiven")
	}
	if !forgives(other) {
		t.Error("another account is not forgiven")
	}
	h.pass(6 * time.Minute)
	if !forgives(next) || forgives(old) {
		t.Error("6 minutes later one more is to be forgiven")
	}
	if h.Forgive(&Pass{}) {
		t.Error("a request without a key has nothing to be forgiven")
	}
}
