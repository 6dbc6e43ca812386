package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// scanned counts an account as one scan after a restart does.
func scanned(h *harness, account AccountID) Held {
	h.Helper()
	h.Store.held.reset()
	got, err := h.Held(account)
	if err != nil {
		h.Fatal(err)
	}
	return got
}

// The count that apply keeps is the one of a scan, after any changes of keys.
func TestHeld(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "a"}}})
	if got, err := h.Held("acct_none"); got != (Held{}) || err != nil {
		t.Errorf("no account: %+v, %v", got, err)
	}
	if got, err := h.Held(DefaultAccount); got != (Held{}) || err != nil {
		t.Errorf("an empty account: %+v, %v", got, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var ids []KeyID
	for i := range 200 {
		name := fmt.Sprint("k", i)
		c := create(name)
		switch n := random.IntN(6); {
		case n == 0 || len(ids) == 0:
			ids = append(ids, KeyID("key_"+name))
		case n == 1:
			k := newKey(name)
			c = &Command{Change: &KeyImport{Keys: []Key{k, k}}}
			ids = append(ids, k.ID)
		case n == 2:
			c = &Command{Change: &KeyUpdate{ID: ids[random.IntN(len(ids))], Name: ptr(strings.Repeat("n", random.IntN(500)))}}
		case n == 3:
			c = &Command{Change: &KeyRotate{ID: ids[random.IntN(len(ids))], New: KeyID("key_" + name), Hash: hashOf(name)}}
		case n == 4:
			c = &Command{Change: &KeyRevoke{ID: ids[random.IntN(len(ids))], Reason: name}}
		default:
			c = &Command{Account: "acct_a", Change: &KeyCreate{Key: newKey(name)}}
		}
		h.do(c)
	}
	for _, account := range []AccountID{DefaultAccount, "acct_a"} {
		kept, err := h.Held(account)
		if want := scanned(h, account); err != nil || kept != want || kept.Keys < 5 {
			t.Errorf("%s: the count is %+v (%v), a scan gives %+v", account, kept, err, want)
		}
	}
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})
	if got, err := h.Held("acct_a"); got != (Held{}) || err != nil {
		t.Errorf("a deleted account: %+v, %v", got, err)
	}
	if n := len(h.Store.held.of); n != 0 {
		t.Errorf("%d accounts are counted, want none but those that exist", n)
	}
}

// A count that begins beside changes misses none of them and takes none twice.
func TestHeldBesideChanges(t *testing.T) {
	h := begun(t)
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				h.Store.held.reset()
				if _, err := h.Held(DefaultAccount); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 500 {
		h.must(create(fmt.Sprint(i)))
	}
	close(stop)
	all.Wait()
	kept, err := h.Held(DefaultAccount)
	if want := scanned(h, DefaultAccount); err != nil || kept != want || kept.Keys != 500 {
		t.Errorf("the count is %+v (%v), a scan gives %+v", kept, err, want)
	}
}
