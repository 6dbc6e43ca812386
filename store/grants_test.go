package store

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// grantsModel holds the grants that a state should have made: 1000 a month for
// test keys, 40 and a budget of 70 for the key limited, and limit for live keys.
type grantsModel struct {
	month          int
	limit          int64
	limited, other KeyID // other has no limits of its own
	granted        map[grantsBucket]int64
}

type grantsBucket struct {
	month  int
	typ    KeyType
	key    KeyID
	budget bool
}

func bucketOf(ask GrantAsk) grantsBucket {
	return grantsBucket{ask.Month, ask.Type, ask.Key, ask.Budget}
}

// most returns the limit of the bucket of ask; a bucket that does not exist is not known.
func (m *grantsModel) most(ask GrantAsk) (most int64, known bool) {
	if ask.Month < m.month-1 || ask.Month > m.month+1 {
		return 0, false
	}
	switch {
	case ask.Key == "" && !ask.Budget && ask.Type == Live:
		return m.limit, true
	case ask.Key == "" && !ask.Budget:
		return 1000, true // test keys: the tier's
	case ask.Key == m.limited && ask.Type == Live && ask.Budget:
		return 70, true
	case ask.Key == m.limited && ask.Type == Live:
		return 40, true
	case ask.Key == m.other && ask.Type == Live:
		return unlimited, true
	}
	return 0, false
}

// grant makes the grant that ask should get.
func (m *grantsModel) grant(ask GrantAsk) (want Granted) {
	most, known := m.most(ask)
	if !known {
		return want
	}
	have := m.granted[bucketOf(ask)]
	if ask.Give > 0 {
		have = max(0, have-ask.Give)
	}
	if ask.Want > 0 && most > have {
		want.N = min(ask.Want, most-have)
	}
	want.Total = have + want.N
	m.granted[bucketOf(ask)] = want.Total
	return want
}

// Grants agree with a model: for each month, type and bucket the units granted are never
// above the limit of their time, and units given back can be granted again.
func TestGrantsAgreeWithModel(t *testing.T) {
	h := begun(t)
	k, other := newKey("a"), newKey("b")
	k.Limits, k.MonthlyBudget = limitOf(5, 40), ptr(Money(70))
	h.must(&Command{Change: &KeyCreate{Key: k}})
	h.must(&Command{Change: &KeyCreate{Key: other}})
	m := &grantsModel{Month(epoch), 1000, k.ID, other.ID, map[grantsBucket]int64{}}
	rapid.Check(t, func(t *rapid.T) {
		if rapid.IntRange(0, 9).Draw(t, "change") == 0 {
			m.limit = rapid.Int64Range(1, 2000).Draw(t, "limit")
			h.must(&Command{Change: &AccountUpdate{Limits: limitOf(5, m.limit)}})
		}
		ask := GrantAsk{
			Account: DefaultAccount, Type: KeyType(rapid.IntRange(0, 1).Draw(t, "type")),
			Key:    rapid.SampledFrom([]KeyID{"", k.ID, other.ID, "key_none"}).Draw(t, "key"),
			Budget: rapid.Bool().Draw(t, "budget"), Month: m.month + rapid.IntRange(-2, 2).Draw(t, "month"),
			Want: rapid.Int64Range(-1, 500).Draw(t, "want"), Give: rapid.Int64Range(-1, 300).Draw(t, "give"),
		}
		got := h.must(&Command{Change: &Grant{Node: "n", Asks: []GrantAsk{ask}}}).Granted[0]
		if want := m.grant(ask); got != want {
			t.Fatalf("%+v: %+v, want %+v", ask, got, want)
		}
		stored := m.granted[bucketOf(ask)]
		if n, err := h.Granted(DefaultAccount, ask.Type, ask.Key, ask.Budget, ask.Month); err != nil || n != stored {
			t.Fatalf("%+v: stored %d, %v; want %d", ask, n, err, stored)
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
