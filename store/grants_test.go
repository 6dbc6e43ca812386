package store

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// Grants agree with a model: for each month, type and bucket the units granted are never
// above the limit of their time, and units given back can be granted again.
func TestGrantsAgreeWithModel(t *testing.T) {
	h := begun(t)
	k := newKey("a")
	k.Limits, k.MonthlyBudget = limitOf(5, 40), ptr(Money(70))
	h.must(&Command{Change: &KeyCreate{Key: k}})
	other := newKey("b") // a key without limits of its own
	h.must(&Command{Change: &KeyCreate{Key: other}})
	type bucket struct {
		month  int
		typ    KeyType
		key    KeyID
		budget bool
	}
	granted := map[bucket]int64{}
	limit := int64(1000)
	month := Month(epoch)
	rapid.Check(t, func(t *rapid.T) {
		if rapid.IntRange(0, 9).Draw(t, "change") == 0 {
			limit = rapid.Int64Range(1, 2000).Draw(t, "limit")
			h.must(&Command{Change: &AccountUpdate{Limits: limitOf(5, limit)}})
		}
		ask := GrantAsk{
			Account: DefaultAccount, Type: KeyType(rapid.IntRange(0, 1).Draw(t, "type")),
			Key:    rapid.SampledFrom([]KeyID{"", k.ID, other.ID, "key_none"}).Draw(t, "key"),
			Budget: rapid.Bool().Draw(t, "budget"), Month: month + rapid.IntRange(-2, 2).Draw(t, "month"),
			Want: rapid.Int64Range(-1, 500).Draw(t, "want"), Give: rapid.Int64Range(-1, 300).Draw(t, "give"),
		}
		b := bucket{ask.Month, ask.Type, ask.Key, ask.Budget}
		got := h.must(&Command{Change: &Grant{Node: "n", Asks: []GrantAsk{ask}}}).Granted[0]

		most, known := int64(0), ask.Month >= month-1 && ask.Month <= month+1
		switch {
		case ask.Key == "" && !ask.Budget && ask.Type == Live:
			most = limit
		case ask.Key == "" && !ask.Budget:
			most = 1000 // test keys: the tier's
		case ask.Key == k.ID && ask.Type == Live && ask.Budget:
			most = 70
		case ask.Key == k.ID && ask.Type == Live:
			most = 40
		case ask.Key == other.ID && ask.Type == Live:
			most = unlimited
		default:
			known = false
		}
		want := Granted{}
		if known {
			have := granted[b]
			if ask.Give > 0 {
				have = max(0, have-ask.Give)
			}
			if ask.Want > 0 && most > have {
				want.N = min(ask.Want, most-have)
			}
			want.Total = have + want.N
			granted[b] = want.Total
		}
		if got != want {
			t.Fatalf("%+v: %+v, want %+v", ask, got, want)
		}
		if n, err := h.Granted(DefaultAccount, ask.Type, ask.Key, ask.Budget, ask.Month); err != nil || n != granted[b] {
			t.Fatalf("%+v: stored %d, %v; want %d", ask, n, err, granted[b])
		}
	})
}

// A month's turn begins with nothing granted; the months before are kept while
// clocks may be off, and removed then.
func TestMonthsAreRemoved(t *testing.T) {
	h := begun(t)
	take := func() {
		h.must(&Command{Change: &Grant{Node: "n", Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Month: Month(h.at), Want: 7}}}})
	}
	first := Month(epoch)
	for i := range 8 {
		take()
		for m := first; m <= first+i; m++ {
			n, err := h.Granted(DefaultAccount, Live, "", false, m)
			want := int64(7)
			if m < first+i-monthsKept {
				want = 0
			}
			if err != nil || n != want {
				t.Errorf("in month %d, month %d has %d, %v; want %d", i, m-first, n, err, want)
			}
		}
		h.at = h.at.AddDate(0, 1, 0)
	}
}

// A command grants each ask from the units that the ones before it left.
func TestAsksOfOneCommand(t *testing.T) {
	h := begun(t)
	ask := GrantAsk{Account: DefaultAccount, Type: Live, Month: Month(epoch), Want: 600}
	r := h.must(&Command{Change: &Grant{Node: "n", Asks: []GrantAsk{ask, ask, {Account: "acct_none", Type: Live, Month: ask.Month, Want: 1}, ask}}})
	if got := fmt.Sprint(r.Granted); got != fmt.Sprint([]Granted{{600, 600}, {400, 1000}, {}, {0, 1000}}) {
		t.Error(got)
	}
	h.refused(InvalidValue, &Command{Change: &Grant{Asks: make([]GrantAsk, maxAsks+1)}})
	if r := h.must(&Command{Change: &Grant{}}); len(r.Granted) != 0 {
		t.Errorf("no asks: %+v", r)
	}
}
