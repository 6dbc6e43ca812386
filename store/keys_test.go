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
	h.refused(NotFound, &Command{KeyUpdate: &KeyUpdate{ID: "key_none", Name: ptr("x")}})
	h.refused(PreconditionFailed, &Command{Match: 1, KeyUpdate: &KeyUpdate{ID: k.ID, Name: ptr("x")}})
	h.must(&Command{Match: k.Modified, KeyUpdate: &KeyUpdate{ID: k.ID, Name: ptr("b"), Disabled: ptr(true),
		Limits: &Limits{PerMinute: ptr(int64(5))}, Scopes: &[]string{"custom", "admin"}, ExpiresAt: ptr(h.at.Add(time.Hour))}})
	r, _ = h.Lookup(k.Hash)
	if r.State(h.at) != Disabled || r.Limit.PerMinute != 5 || r.Limit.Burst != 5 || !slices.Equal(r.Custom, []string{"custom"}) || r.Scopes != ScopeAdmin {
		t.Fatalf("updated record: %+v %+v", r, r.Extra)
	}
	h.must(&Command{KeyUpdate: &KeyUpdate{ID: k.ID, Disabled: ptr(false), Clear: []string{"limits", "expires_at"}, Scopes: &[]string{}}})
	if k, _ = h.Key(k.ID); k.State(h.at) != Active || k.Limits != nil || !k.ExpiresAt.IsZero() || len(k.Scopes) != 0 {
		t.Fatalf("cleared key: %+v", k)
	}
	h.must(&Command{KeyRevoke: &KeyRevoke{ID: k.ID, Reason: "leaked"}})
	revoked := h.index
	h.must(&Command{KeyRevoke: &KeyRevoke{ID: k.ID, Reason: "again"}})
	if k, _ = h.Key(k.ID); k.RevokeReason != "leaked" || k.RevokedBy != "op" || k.Modified != revoked {
		t.Fatalf("revoked key: %+v", k)
	}
	if r, _ = h.Lookup(k.Hash); r.State(h.at) != Revoked {
		t.Fatalf("record of the revoked key: %+v", r)
	}
	h.refused(Conflict, &Command{KeyUpdate: &KeyUpdate{ID: k.ID, Disabled: ptr(false)}})
	h.refused(Conflict, &Command{KeyRotate: &KeyRotate{ID: k.ID, New: "key_z", Hash: hashOf("z")}})
}

func TestRotation(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	rotate := func(from, to string, overlap time.Duration) *Command {
		return &Command{KeyRotate: &KeyRotate{ID: KeyID("key_" + from), New: KeyID("key_" + to), Hash: hashOf(to), Hint: to, OverlapEndsAt: h.at.Add(time.Second + overlap)}}
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
