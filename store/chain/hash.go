package chain

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 hash. Its text is base64 in proofs, hexadecimal in events.
type Hash [sha256.Size]byte

// Hex is the text of an event's hash.
func (h Hash) Hex() string { return hex.EncodeToString(h[:]) }

// String is the text of h in a proof.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("read a hash: %w", err)
	}
	if len(raw) != len(h) {
		return errors.New("read a hash: it must have 32 bytes")
	}
	copy(h[:], raw)
	return nil
}

func node(left, right Hash) Hash { return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right))) }

// Tree is the Merkle tree (RFC 6962) over leaves that come one by one. It holds the
// roots of its complete subtrees, at most 64. The zero value is ready.
type Tree struct {
	n     uint64
	peaks []Hash // the largest first
}

// Append adds a leaf.
func (t *Tree) Append(leaf Hash) {
	t.peaks = append(t.peaks, leaf)
	for n := t.n; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		t.peaks[last-1] = node(t.peaks[last-1], t.peaks[last])
		t.peaks = t.peaks[:last]
	}
	t.n++
}

// Len is the number of leaves.
func (t *Tree) Len() uint64 { return t.n }

// Root is the root over all leaves; that of no leaves is the hash of nothing.
func (t *Tree) Root() Hash {
	if t.n == 0 {
		return sha256.Sum256(nil)
	}
	root := t.peaks[len(t.peaks)-1]
	for _, p := range slices.Backward(t.peaks[:len(t.peaks)-1]) {
		root = node(p, root)
	}
	return root
}

// Reset empties the tree and keeps its memory.
func (t *Tree) Reset() { t.n, t.peaks = 0, t.peaks[:0] }

// RootOf is the root over leaves.
func RootOf(leaves []Hash) Hash {
	var t Tree
	for _, h := range leaves {
		t.Append(h)
	}
	return t.Root()
}

// Hide returns the roots of the largest subtrees without any leaf that is shown, in
// order: with the shown leaves they give the root of all. shown is as long as leaves.
func Hide(leaves []Hash, shown []bool) (hidden []Hash) {
	if len(leaves) == 0 {
		return nil
	}
	if !slices.Contains(shown, true) {
		return []Hash{RootOf(leaves)}
	}
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	return append(Hide(leaves[:k], shown[:k]), Hide(leaves[k:], shown[k:])...)
}

// split is the largest power of two below n, which is at least 2.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// unhide is the reverse of [Hide]: it computes the root over len(shown) leaves of which
// those that are shown are in leaves, in order.
func unhide(shown []bool, leaves, hidden []Hash) (Hash, error) {
	u := unhider{leaves, hidden}
	root, err := u.root(shown)
	if err == nil && len(u.leaves)+len(u.hidden) > 0 {
		err = errProof
	}
	return root, err
}

var errProof = errors.New("the proof does not have the form that its numbers say")

type unhider struct{ leaves, hidden []Hash }

func (u *unhider) root(shown []bool) (h Hash, err error) {
	from := &u.leaves
	switch {
	case len(shown) == 0:
		return sha256.Sum256(nil), nil
	case !slices.Contains(shown, true):
		from = &u.hidden
	case len(shown) > 1:
		k := split(len(shown))
		left, err := u.root(shown[:k])
		if err != nil {
			return h, err
		}
		right, err := u.root(shown[k:])
		return node(left, right), err
	}
	if len(*from) == 0 {
		return h, errProof
	}
	h, *from = (*from)[0], (*from)[1:]
	return h, nil
}
