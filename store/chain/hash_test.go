package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

func leafOf(n int) Hash { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))) }

func leavesOf(n int) []Hash {
	out := make([]Hash, n)
	for i := range out {
		out[i] = leafOf(i)
	}
	return out
}

// The root over leaves that come one by one is that of RFC 6962, as package tlog has it.
func TestTree(t *testing.T) {
	var tree Tree
	var stored storedHashes
	for n := range 300 {
		want, err := tlog.TreeHash(int64(n), stored)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != Hash(want) || tree.Len() != uint64(n) || n > 0 && RootOf(leavesOf(n)) != Hash(want) {
			t.Fatalf("the root over %d leaves is not that of RFC 6962", n)
		}
		more, err := tlog.StoredHashesForRecordHash(int64(n), tlog.Hash(leafOf(n)), stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		tree.Append(leafOf(n))
	}
	tree.Reset()
	if tree.Root() != RootOf(nil) {
		t.Error("a tree that was reset is not empty")
	}
}

// The shown leaves and the hidden subtrees give the root, and nothing else does.
func TestHide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shown := rapid.SliceOfN(rapid.Bool(), 1, 70).Draw(t, "shown")
		leaves := leavesOf(len(shown))
		var open []Hash
		for i, s := range shown {
			if s {
				open = append(open, leaves[i])
			}
		}
		hidden := Hide(leaves, shown)
		root, err := unhide(shown, open, hidden)
		if err != nil || root != RootOf(leaves) {
			t.Fatalf("root %v, %v", root, err)
		}
		if len(open)+len(hidden) > len(leaves) {
			t.Fatalf("%d shown and %d hidden of %d", len(open), len(hidden), len(leaves))
		}
		if _, err := unhide(shown, append(slices.Clone(open), leaves[0]), hidden); !errors.Is(err, errProof) {
			t.Fatalf("a leaf too many: %v", err)
		}
		if len(hidden) > 0 {
			if _, err := unhide(shown, open, hidden[1:]); !errors.Is(err, errProof) {
				t.Fatalf("a hash too few: %v", err)
			}
		}
		if len(open) > 0 {
			i := rapid.IntRange(0, len(open)-1).Draw(t, "changed")
			open[i][rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
			if root, err := unhide(shown, open, hidden); err == nil && root == RootOf(leaves) {
				t.Fatal("a changed leaf gives the same root")
			}
		}
	})
}

// An account's path leads to the root of the head, and no other account's chain does.
func TestPath(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 64, 65} {
		list := make([]Account, n)
		for i := range list {
			list[i] = Account{string(rune('a' + i)), State{leafOf(i), uint64(i), 1, 5}, 2}
		}
		slices.Reverse(list)
		SortAccounts(list)
		root := AccountsRoot(list)
		for i, a := range list {
			p, err := PathTo(list, a.Account)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(a, root); err != nil {
				t.Fatalf("account %d of %d: %v", i, n, err)
			}
			for name, other := range map[string]Account{
				"link": {a.Account, State{leafOf(99), a.Seq, a.Events, 5}, 2}, "number": {a.Account, State{a.Link, a.Seq + 1, a.Events, 5}, 2},
				"events": {a.Account, State{a.Link, a.Seq, a.Events + 1, 5}, 2}, "name": {a.Account + "x", a.State, 2},
				"time": {a.Account, State{a.Link, a.Seq, a.Events, 6}, 2}, "since": {a.Account, a.State, 3},
			} {
				if p.Check(other, root) == nil {
					t.Errorf("the path of account %d of %d fits another %s", i, n, name)
				}
			}
		}
		if _, err := PathTo(list, "none"); err == nil {
			t.Error("an account without a chain has a path")
		}
	}
}

func TestHashText(t *testing.T) {
	h := leafOf(1)
	text, _ := h.MarshalText()
	var back Hash
	if err := back.UnmarshalText(text); err != nil || back != h {
		t.Errorf("%s was read as %v, %v", text, back, err)
	}
	for _, bad := range []string{"", "AA==", "no base64", string(text) + "A", string(text[:43])} {
		if back.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q was read as a hash", bad)
		}
	}
	if len(h.Hex()) != 64 {
		t.Errorf("%q", h.Hex())
	}
}
