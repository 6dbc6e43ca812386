package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// rotated opens a store with the keys a, b and c and a rotation of the pepper under way.
func rotated(tb testing.TB) *harness {
	h := begun(tb)
	for _, name := range []string{"a", "b", "c"} {
		h.must(create(name))
	}
	h.must(&Command{Change: &PepperRotate{Pepper: Hash{9}}})
	return h
}

func rehash(names ...string) *Command {
	in := &KeysRehash{Generation: 1}
	for _, name := range names {
		in.Keys = append(in.Keys, Rehash{KeyID("key_" + name), hashUnder(name, 1)})
	}
	return &Command{Change: in}
}

// unmoved lists the names of keys under the retired pepper, page by page.
func (h *harness) unmoved(page int) (names []string) {
	h.Helper()
	for from, more := "", true; more; more = from != "" {
		keys, next, err := h.Unmoved(h.Peppers().Generation, h.at, from, page)
		if err != nil || len(keys) > page {
			h.Fatal(keys, err)
		}
		for _, k := range keys {
			names = append(names, k.Name)
		}
		from = next
	}
	return names
}

// A moved key keeps everything but its hash, its ETag too; the record of the hash that it had
// leaves the cache.
func TestRehash(t *testing.T) {
	h := rotated(t)
	before, _ := h.Key("key_a")
	if r, err := h.Lookup(before.Hash); r == nil || err != nil {
		t.Fatal("the key is not found under the retired pepper", err)
	}
	h.must(rehash("a"))
	after, err := h.Key("key_a")
	if err != nil {
		t.Fatal(err)
	}
	if after.Hash != hashUnder("a", 1) || after.Generation != 1 {
		t.Errorf("the key is not moved: %+v", after)
	}
	after.Hash, after.Generation = before.Hash, before.Generation
	if !bytes.Equal(packKey(nil, after), packKey(nil, before)) {
		t.Errorf("got  %+v\nwant %+v", after, before)
	}
	if r, err := h.Lookup(hashOf("a")); r != nil || err != nil {
		t.Error("the key is still found under the retired pepper", r, err)
	}
	if r, err := h.Lookup(hashUnder("a", 1)); r == nil || err != nil || r.ID != "key_a" {
		t.Error("the key is not found under the current pepper", r, err)
	}
	held, err := h.Held(DefaultAccount)
	h.must(rehash("b"))
	if more, err2 := h.Held(DefaultAccount); err != nil || err2 != nil || more.Keys != held.Keys || more.Bytes <= held.Bytes {
		t.Error("the moved key is counted wrongly:", held, more, err, err2)
	}
}

// Keys that can no longer be used do not count as left, and one that comes back to life after
// the count keeps the retired pepper.
func TestUnmoved(t *testing.T) {
	h := rotated(t)
	h.must(&Command{Change: &KeyUpdate{ID: "key_c", ExpiresAt: ptr(h.at.Add(time.Minute))}})
	for _, page := range []int{1, 2, 10} {
		if got := h.unmoved(page); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("pages of %d: %v", page, got)
		}
	}
	h.must(rehash("a"))
	h.must(&Command{Change: &KeyRevoke{ID: "key_b"}})
	h.pass(time.Hour)
	if got := h.unmoved(10); got != nil {
		t.Errorf("%v are left", got)
	}
	counted := h.index
	h.must(&Command{Change: &KeyUpdate{ID: "key_c", Clear: []string{"expires_at"}}})
	h.refused(Conflict, &Command{Change: &PepperFinish{Generation: 1, Counted: counted}})
	if got := h.unmoved(10); !slices.Equal(got, []string{"c"}) {
		t.Errorf("%v are left after one was prolonged", got)
	}
	h.must(rehash("c"))
	h.must(&Command{Change: &PepperFinish{Generation: 1, Counted: h.index}})
	if p := h.Peppers(); p.Rotating || p.Current != (Hash{9}) || p.Generation != 1 {
		t.Errorf("%+v", p)
	}
	h.refused(Conflict, &Command{Change: &KeyRevokeBulk{IDs: []KeyID{"key_c"}, Unmoved: 1}})
}

// A key that had expired when its pepper was dropped is not prolonged: no request would find it,
// and it would hold up the end of each later rotation.
func TestKeyOfADroppedPepper(t *testing.T) {
	h := rotated(t)
	h.must(&Command{Change: &KeyUpdate{ID: "key_c", ExpiresAt: ptr(h.at.Add(time.Minute))}})
	h.must(rehash("a", "b"))
	h.pass(time.Hour)
	h.must(&Command{Change: &PepperFinish{Generation: 1, Counted: h.index}})
	prolong := &Command{Change: &KeyUpdate{ID: "key_c", Clear: []string{"expires_at"}}}
	h.refused(Conflict, prolong)
	h.must(&Command{Change: &PepperRotate{Pepper: Hash{10}}})
	h.refused(Conflict, prolong)
	if got := h.unmoved(10); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v are left", got)
	}
}

// Where the rotation and the move of a key come in one batch, readers learn of the new pepper
// before the key is gone from under the old one.
func TestRotationAndRehashInOneBatch(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	done := make(chan error)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			before := h.Peppers()
			r, err := h.Lookup(hashUnder("a", before.Generation))
			if r == nil && before.Rotating && err == nil {
				if r, err = h.Lookup(hashUnder("a", before.Generation-1)); r == nil && err == nil {
					r, err = h.Lookup(hashUnder("a", before.Generation))
				}
			}
			if err != nil || r == nil && h.Peppers() == before {
				done <- fmt.Errorf("not found in generation %d: %v", before.Generation, err)
				return
			}
		}
	}()
	const turns = 20
	for g := uint64(1); g <= turns; g++ {
		batch := []*raft.Log{
			h.entry(&Command{Change: &PepperRotate{Pepper: Hash{byte(g + 1)}}}),
			h.entry(&Command{Change: &KeysRehash{Generation: g, Keys: []Rehash{{"key_a", hashUnder("a", g)}}}}),
			h.entry(&Command{Change: &PepperFinish{Generation: g}}),
		}
		for i, answer := range h.ApplyBatch(batch) {
			if r := answer.(Result); r.Refusal != nil {
				t.Fatalf("generation %d, command %d: %v", g, i, r.Refusal)
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if k, err := h.Key("key_a"); err != nil || k.Generation != turns {
		t.Error(k, err)
	}
}

// A key that is known under the retired pepper is not imported a second time; one that its
// account revoked is reassigned, and is found as the new account's from then on.
func TestImportWhileThePepperIsRotated(t *testing.T) {
	h := accounts(t, "acct_a", "acct_b")
	h.must(imports("acct_a", 1, false, "s"))
	h.must(&Command{Change: &PepperRotate{Pepper: Hash{9}}})
	line := func(account AccountID, n int, reassign bool) string {
		t.Helper()
		c := imports(account, n, reassign, "s")
		in := c.Change.(*KeyImport)
		in.Keys[0].Hash, in.Keys[0].Generation, in.Retired = hashUnder("s", 1), 1, []Hash{hashOf("s")}
		return h.must(c).Lines[0].Error
	}
	const known = "this key exists already"
	if got := line("acct_b", 2, true); got != known {
		t.Errorf("of a key that works: %q", got)
	}
	h.must(&Command{Account: "acct_a", Change: &KeyRevoke{ID: "key_s_1"}})
	if got := line("acct_b", 2, false); got != known {
		t.Errorf("without reassigning: %q", got)
	}
	if got := line("acct_b", 2, true); got != "" {
		t.Fatalf("reassigned: %q", got)
	}
	h.must(&Command{Change: &KeysRehash{Generation: 1, Keys: []Rehash{{"key_s_1", hashUnder("x", 1)}}}})
	for _, hash := range []Hash{hashOf("s"), hashUnder("x", 1)} {
		if r, err := h.Lookup(hash); r != nil || err != nil {
			t.Errorf("the revoked key is found: %+v %v", r, err)
		}
	}
	if r, err := h.Lookup(hashUnder("s", 1)); err != nil || r == nil || r.ID != "key_s_2" || r.State(h.at) != Active {
		t.Errorf("the reassigned key is %+v %v", r, err)
	}
	if got := line("acct_a", 3, true); got != known {
		t.Errorf("back into the account that revoked it: %q", got)
	}
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})
	h.must(&Command{Account: "acct_b", Change: &AccountDelete{}})
	h.pass(48 * time.Hour)
	h.must(&Command{Change: &AllowlistSet{}}) // the sweeper goes on with any command
	if got := line(DefaultAccount, 4, false); got != "" {
		t.Errorf("after both accounts are gone: %q", got)
	}
}
