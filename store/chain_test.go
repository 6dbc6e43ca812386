package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// rotate makes a key called next that replaces the one called old, with an overlap.
func rotate(old, next string) *Command {
	return &Command{Change: &KeyRotate{ID: KeyID("key_" + old), New: KeyID("key_" + next), Hash: hashOf(next), Hint: "h", OverlapEndsAt: epoch.Add(24 * time.Hour)}}
}

// One command revokes a chain of rotations whole, also the keys that were added after
// its proposer had read it, and no other key.
func TestRevokeChain(t *testing.T) {
	for _, since := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(since, " rotations since"), func(t *testing.T) {
			h := begun(t)
			h.must(create("0"))
			h.must(create("other"))
			const read = 3
			var ids, want []KeyID
			for i := range read + since {
				if i > 0 {
					h.must(rotate(fmt.Sprint(i-1), fmt.Sprint(i)))
				}
				id := KeyID(fmt.Sprint("key_", i))
				if want = append(want, id); i < read {
					ids = append(ids, id)
				}
			}
			r := h.must(&Command{Change: &KeyRevokeBulk{IDs: ids, Last: ids[read-1], Reason: "leaked"}})
			if slices.Sort(r.Keys); !slices.Equal(r.Keys, want) || r.Matched != len(want) {
				t.Errorf("revoked %v, matched %d, want %v", r.Keys, r.Matched, want)
			}
			for _, id := range want {
				if k, err := h.Key(id); err != nil || k.State(h.at) != Revoked || k.RevokeReason != "leaked" {
					t.Errorf("%s is %+v, %v", id, k, err)
				}
			}
			if k, err := h.Key("key_other"); err != nil || k.State(h.at) != Active {
				t.Errorf("a key outside of the chain is %+v, %v", k, err)
			}
			h.refused(Conflict, rotate(fmt.Sprint(read+since-1), "late"))
		})
	}
}

// The end of a chain is followed within the command's account only, and one that is not
// there ends nothing.
func TestRevokeChainOfAnotherAccount(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "a"}}})
	h.must(create("0"))
	h.must(rotate("0", "1"))
	for _, last := range []KeyID{"key_0", "key_none"} {
		r := h.must(&Command{Account: "acct_a", Change: &KeyRevokeBulk{IDs: []KeyID{"key_0"}, Last: last}})
		if len(r.Keys) > 0 || r.Matched > 0 {
			t.Errorf("after %s: %+v", last, r)
		}
	}
	if k, err := h.Key("key_1"); err != nil || k.State(h.at) != Active {
		t.Errorf("the other account's key is %+v, %v", k, err)
	}
}
