package pool

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

// index finds the buckets of a shard by name: 10 to 16 bytes for each, where a map with the
// names in it takes 27 to 55. The zero value is an empty one.
//
// It is open addressing with linear probing. A byte of the hash for each place says which
// buckets to look at, so that hardly ever another bucket's memory is waited for. There are
// several tables, so that one that grows holds the shard up for a tenth of a millisecond at
// most: 1,024 buckets of a table when the pool has a million. Callers of POST /v1/ratelimit
// choose names, so the hash has a seed.
type index struct {
	tables [tables]table
	n      int
}

const tables = 16

type table struct {
	tags []uint8 // tagFree, tagGone or a byte of the hash
	at   []*Bucket
	n    int
	used int // n and the places that are gone
}

const (
	tagFree uint8 = iota
	tagGone       // looking for a bucket goes on behind it
	tagMin
)

// tableMin is the places of the smallest table.
const tableMin = 8

var seed = maphash.MakeSeed()

// place is where a name belongs.
func (x *index) place(n *Name) (t *table, hash uint32, tag uint8) {
	h := maphash.Bytes(seed, n[:])
	return &x.tables[h%tables], uint32(h >> 32), max(tagMin, uint8(h>>8))
}

// first is the place to look at first.
func (t *table) first(hash uint32) int {
	hi, _ := bits.Mul64(uint64(hash)<<32, uint64(len(t.at)))
	return int(hi)
}

// get is the bucket with a name; nil: there is none.
func (x *index) get(n Name) *Bucket {
	t, hash, tag := x.place(&n)
	if i := t.find(&n, hash, tag); i >= 0 {
		return t.at[i]
	}
	return nil
}

// find is the place of a name; -1: there is none. A table has always a free place.
func (t *table) find(n *Name, hash uint32, tag uint8) int {
	if t.n == 0 {
		return -1
	}
	for i := t.first(hash); ; {
		switch t.tags[i] {
		case tag:
			if t.at[i].Name == *n {
				return i
			}
		case tagFree:
			return -1
		}
		if i++; i == len(t.tags) {
			i = 0
		}
	}
}

// put adds a bucket whose name is not there.
func (x *index) put(b *Bucket) {
	t, hash, tag := x.place(&b.Name)
	if t.used+1 > len(t.at)/8*7 {
		x.resize(t, max(tableMin, (t.n+1)*12/7))
	}
	t.put(b, hash, tag)
	x.n++
}

func (t *table) put(b *Bucket, hash uint32, tag uint8) {
	i := t.first(hash)
	for t.tags[i] >= tagMin {
		if i++; i == len(t.tags) {
			i = 0
		}
	}
	if t.tags[i] == tagFree {
		t.used++
	}
	t.tags[i], t.at[i] = tag, b
	t.n++
}

// resize moves a table to a number of places, a multiple of 8.
func (x *index) resize(t *table, places int) {
	old := *t
	places = (places + 7) / 8 * 8
	*t = table{tags: make([]uint8, places), at: make([]*Bucket, places)}
	for _, b := range old.at {
		if b != nil {
			_, hash, tag := x.place(&b.Name)
			t.put(b, hash, tag)
		}
	}
}

// remove takes a bucket out. What is all walks on.
func (x *index) remove(b *Bucket) {
	t, hash, tag := x.place(&b.Name)
	i := t.find(&b.Name, hash, tag)
	if i < 0 || t.at[i] != b {
		return
	}
	t.tags[i], t.at[i] = tagGone, nil
	t.n--
	x.n--
	switch {
	case t.n == 0:
		*t = table{}
	case len(t.at) > tableMin && t.n < len(t.at)/4:
		x.resize(t, max(tableMin, t.n*2))
	}
}

// all is each bucket. The one that is at hand may be removed, and none may be added.
func (x *index) all() iter.Seq[*Bucket] {
	return func(yield func(*Bucket) bool) {
		for i := range x.tables {
			for _, b := range x.tables[i].at { // as it was: remove may put another table there
				if b != nil && !yield(b) {
					return
				}
			}
		}
	}
}

// hand goes round all buckets.
type hand struct{ table, place int }

// next is the bucket after the one before; nil if there is none at all.
func (x *index) next(h *hand) *Bucket {
	for x.n > 0 {
		at := x.tables[h.table].at
		if h.place >= len(at) {
			h.table, h.place = (h.table+1)%tables, 0
			continue
		}
		h.place++
		if b := at[h.place-1]; b != nil {
			return b
		}
	}
	return nil
}
