package store

import (
	"slices"
	"testing"
	"time"
)

func TestKeyLife(t *testing.T) {
	h := begun(t)
	k := h.must(create("a")).Key
	if k.Created != h.index || k.Modified != h.index || !k.CreatedAt.Equal(h.at) || k.CreatedBy != "op" {
		t.Fatalf("created key: %+v", k)
	}
	if !slices.Equal(k.Scopes, []string{"read", "write"}) {
		t.Fatalf("scopes %v are not sorted", k.Scopes)
	}
	r, err := h.Lookup(k.Hash)
	if err != nil || r == nil || r.ID != k.ID || r.Scopes != ScopeRead|ScopeWrite || r.Type != Live || r.Extra == nil {
		t.Fatalf("lookup: %+v %v", r, err)
	}
	if r.Account != h.Cell(DefaultAccount) {
		t.Fatal("the record does not point to its account's cell")
	}
	h.refused(Conflict, create("a"))
	h.refused(NotFound, &Command{Change: &KeyUpdate{ID: "key_none", Name: ptr("x")}})
	h.refused(PreconditionFailed, &Command{Match: 1, Change: &KeyUpdate{ID: k.ID, Name: ptr("x")}})
	h.must(&Command{Match: k.Modified, Change: &KeyUpdate{ID: k.ID, Name: ptr("b"), Disabled: ptr(true),
		Limits: &Limits{PerMinute: ptr(int64(5))}, Scopes: &[]string{"custom", "admin"}, ExpiresAt: ptr(h.at.Add(time.Hour))}})
	r, _ = h.Lookup(k.Hash)
	if r.State(h.at) != Disabled || r.Limit.PerMinute != 5 || r.Limit.Burst != 5 || !slices.Equal(r.Custom, []string{"custom"}) || r.Scopes != ScopeAdmin {
		t.Fatalf("updated record: %+v %+v", r, r.Extra)
	}
	h.must(&Command{Change: &KeyUpdate{ID: k.ID, Disabled: ptr(false), Clear: []string{"limits", "expires_at"}, Scopes: &[]string{}}})
	if k, _ = h.Key(k.ID); k.State(h.at) != Active || k.Limits != nil || !k.ExpiresAt.IsZero() || len(k.Scopes) != 0 {
		t.Fatalf("cleared key: %+v", k)
	}
	h.must(&Command{Change: &KeyRevoke{ID: k.ID, Reason: "leaked"}})
	revoked := h.index
	h.must(&Command{Change: &KeyRevoke{ID: k.ID, Reason: "again"}})
	if k, _ = h.Key(k.ID); k.RevokeReason != "leaked" || k.RevokedBy != "op" || k.Modified != revoked {
		t.Fatalf("revoked key: %+v", k)
	}
	if r, _ = h.Lookup(k.Hash); r.State(h.at) != Revoked {
		t.Fatalf("record of the revoked key: %+v", r)
	}
	h.refused(Conflict, &Command{Change: &KeyUpdate{ID: k.ID, Disabled: ptr(false)}})
	h.refused(Conflict, &Command{Change: &KeyRotate{ID: k.ID, New: "key_z", Hash: hashOf("z")}})
}

func TestRotation(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	rotate := func(from, to string, overlap time.Duration) *Command {
		return &Command{Change: &KeyRotate{ID: KeyID("key_" + from), New: KeyID("key_" + to), Hash: hashOf(to), Hint: to, OverlapEndsAt: h.at.Add(time.Second + overlap)}}
	}
	k := h.must(rotate("a", "b", time.Hour)).Key
	if k.Replaces != "key_a" || k.Name != "a" || k.State(h.at) != Active {
		t.Fatalf("new key: %+v", k)
	}
	old, _ := h.Key("key_a")
	if old.State(h.at) != Rotating || old.ReplacedBy != "key_b" || old.State(h.at.Add(time.Hour)) != Revoked {
		t.Fatalf("old key: %+v", old)
	}
	h.refused(Conflict, rotate("a", "c", time.Hour))
	h.must(rotate("b", "c", 0))
	old, _ = h.Key("key_b")
	if old.State(h.at) != Revoked || old.RevokeReason != "rotated" {
		t.Fatalf("old key without overlap: %+v", old)
	}
	keys, next, err := h.Keys(KeyQuery{Account: DefaultAccount, Limit: 2})
	if err != nil || len(keys) != 2 || next != "key_b" {
		t.Fatalf("page 1: %v %q %v", keys, next, err)
	}
	keys, next, err = h.Keys(KeyQuery{Account: DefaultAccount, Limit: 2, After: next})
	if err != nil || len(keys) != 1 || keys[0].ID != "key_c" || next != "" {
		t.Fatalf("page 2: %v %q %v", keys, next, err)
	}
	n := 0
	for e, err := range h.Events(EventQuery{Account: DefaultAccount}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		t.Log(e.ID, e.Action, string(e.Changes))
	}
	if n != 6 { // init, create, twice rotate and create
		t.Errorf("%d events", n)
	}
}

// The keys of a chain of rotations are counted as its first key; each key's own limit
// holds. A rotation that does not say so begins counts of its own, as in logs of
// earlier versions.
func TestRotationKeepsCounts(t *testing.T) {
	h := begun(t)
	month := Month(epoch)
	a := newKey("a")
	a.MonthlyBudget = ptr(Money(10))
	first := h.must(&Command{Change: &KeyCreate{Key: a}}).Key
	rotate := func(from, to string, counts bool) *Key {
		return h.must(&Command{Change: &KeyRotate{
			ID: KeyID("key_" + from), New: KeyID("key_" + to), Hash: hashOf(to), Hint: to, OverlapEndsAt: h.at.Add(time.Hour), Counts: counts,
		}}).Key
	}
	ask := func(key string, want int64) Granted {
		return h.must(&Command{Change: &Grant{Node: "n", Asks: []GrantAsk{
			{Account: DefaultAccount, Type: Live, Key: KeyID("key_" + key), Budget: true, Month: month, Want: want},
		}}}).Granted[0]
	}
	if got := ask("a", 4); got != (Granted{4, 4}) {
		t.Fatalf("%+v", got)
	}
	want := Lineage{ID: "key_a", Created: first.Created}
	if k := rotate("a", "b", true); k.Lineage == nil || *k.Lineage != want {
		t.Fatalf("%+v", k.Lineage)
	}
	rotate("b", "c", true)
	h.must(&Command{Change: &KeyUpdate{ID: "key_c", MonthlyBudget: ptr(Money(12))}})
	h.reopen()
	if k, err := h.Key("key_c"); err != nil || k.Lineage == nil || *k.Lineage != want {
		t.Fatalf("%+v %v", k.Lineage, err)
	}
	for _, c := range []struct {
		key  string
		want Granted
	}{{"b", Granted{5, 9}}, {"a", Granted{1, 10}}, {"b", Granted{0, 10}}, {"c", Granted{2, 12}}, {"a", Granted{0, 12}}} {
		if got := ask(c.key, 5); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.key, got, c.want)
		}
	}
	if n, err := h.Granted(DefaultAccount, Live, "key_a", true, month); n != 12 || err != nil {
		t.Error(n, err)
	}
	r, err := h.Lookup(hashOf("c"))
	if err != nil || r.Counted() != want || r.Budget != 12 {
		t.Errorf("%+v %v", r, err)
	}
	if k := rotate("c", "d", false); k.Lineage != nil {
		t.Errorf("%+v", k.Lineage)
	}
	if got := ask("d", 5); got != (Granted{5, 5}) {
		t.Errorf("%+v", got)
	}
}
