package pool

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// The index has what a map has.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		var h hand
		model := map[Name]*Bucket{}
		name := func() (n Name) {
			binary.LittleEndian.PutUint16(n[3:], rapid.Uint16Range(0, 400).Draw(t, "name"))
			return n
		}
		for range rapid.IntRange(1, 8).Draw(t, "turns") {
			for range rapid.IntRange(0, 200).Draw(t, "added") {
				if n := name(); model[n] == nil {
					model[n] = &Bucket{Name: n}
					x.put(model[n])
				}
			}
			keep := rapid.IntRange(0, 4).Draw(t, "kept")
			seen := map[Name]bool{}
			for b := range x.all() {
				if seen[b.Name] || model[b.Name] != b {
					t.Fatalf("%x is met twice, or is not there", b.Name)
				}
				if seen[b.Name] = true; len(seen)%4 >= keep {
					x.remove(b)
					x.remove(b)
					delete(model, b.Name)
				}
			}
			for range 20 {
				n := name()
				if got := x.get(n); got != model[n] {
					t.Fatalf("%x: %v, want %v", n, got, model[n])
				}
			}
			round := map[*Bucket]bool{}
			for range x.n {
				round[x.next(&h)] = true
			}
			if x.n != len(model) || len(round) != x.n || x.n == 0 && x.next(&h) != nil {
				t.Fatalf("%d are counted, and a round meets %d of %d", x.n, len(round), len(model))
			}
		}
	})
}

// A table is between half and seven eighths full while buckets are only added, and is given
// back when they are gone.
func TestIndexIsDense(t *testing.T) {
	var x index
	for i := range uint32(50_000) {
		b := new(Bucket)
		binary.LittleEndian.PutUint32(b.Name[:], i)
		x.put(b)
	}
	places := func() (n int) {
		for i := range x.tables {
			n += len(x.tables[i].at)
		}
		return n
	}
	if n := places(); n > 100_000 || n < 50_000/7*8 {
		t.Errorf("%d places for 50,000 buckets", n)
	}
	for b := range x.all() {
		x.remove(b)
	}
	if places() != 0 || x.n != 0 {
		t.Errorf("%d places for %d buckets after the last", places(), x.n)
	}
}
