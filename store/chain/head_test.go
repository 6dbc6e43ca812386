package chain

import (
	"crypto/ed25519"
	"testing"
	"time"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 5e6, time.UTC)

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}

// A head counts only as it was signed, and only by a trusted key.
func TestHead(t *testing.T) {
	key := keyOf(1)
	first := NewKey(key, nil, noon)
	signed := func() Head {
		h := Head{Stream: "evt_abcdefgh", Node: "n1", Number: 7, Time: noon, Seq: 100, Begin: 3, Accounts: 2, Root: leafOf(1), Previous: leafOf(2)}
		h.Sign(key)
		return h
	}
	keys := Keys{}
	h := signed()
	if keys.Check(&h) == nil {
		t.Error("a head of an unknown key counts")
	}
	if err := keys.Add(&first); err != nil {
		t.Fatal(err)
	}
	if err := keys.Check(&h); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Head){
		"stream":    func(h *Head) { h.Stream = "changes" },
		"node":      func(h *Head) { h.Node = "n2" },
		"number":    func(h *Head) { h.Number++ },
		"time":      func(h *Head) { h.Time = h.Time.Add(time.Millisecond) },
		"seq":       func(h *Head) { h.Seq-- },
		"begin":     func(h *Head) { h.Begin-- },
		"accounts":  func(h *Head) { h.Accounts++ },
		"root":      func(h *Head) { h.Root[0] ^= 1 },
		"previous":  func(h *Head) { h.Previous[0] ^= 1 },
		"signature": func(h *Head) { h.Signature[0] ^= 1 },
	} {
		h := signed()
		before := h.Hash()
		change(&h)
		if keys.Check(&h) == nil || name != "signature" && h.Hash() == before {
			t.Errorf("a head with another %s counts", name)
		}
	}
}

// A key counts if the one before it endorsed it.
func TestKeys(t *testing.T) {
	first, second, third := NewKey(keyOf(1), nil, noon), NewKey(keyOf(2), keyOf(1), noon), NewKey(keyOf(3), keyOf(2), noon)
	stranger := NewKey(keyOf(4), keyOf(5), noon)
	keys := Keys{}
	if err := keys.Add(&first); err != nil {
		t.Fatal(err)
	}
	if err := keys.Follow([]Key{first, second, third, stranger}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{first.ID: true, second.ID: true, third.ID: true, stranger.ID: false} {
		if (keys[id] != nil) != want {
			t.Errorf("key %s: trusted %v", id, !want)
		}
	}
	forged := second
	forged.CreatedAt = noon.Add(time.Hour)
	keys = Keys{}
	_ = keys.Add(&first)
	if err := keys.Follow([]Key{forged}); err != nil || keys[forged.ID] != nil {
		t.Errorf("an endorsement of another text counts: %v", err)
	}
	forged = second
	forged.ID = first.ID
	if keys.Add(&forged) == nil || keys.Follow([]Key{forged}) == nil {
		t.Error("a key goes by another one's id")
	}
}

// Each number and hash of a segment changes the link, and so does each part of a chain's
// name.
func TestLinks(t *testing.T) {
	base := Genesis("evt_abcdefgh", "default", 5)
	if base.Seq != 4 || base.Events != 0 {
		t.Errorf("begins with %+v", base)
	}
	g := Segment{First: 6, Last: 9, Count: 3, Time: 77, Root: leafOf(1), Marks: []byte("twelve bytes")}
	next := base.Next(&g)
	if next.Seq != 9 || next.Events != 3 {
		t.Errorf("goes on with %+v", next)
	}
	hidden := Conceal(g, next)
	if base.Next(&hidden.Segment) != next {
		t.Error("a hidden segment has another link")
	}
	links := map[Hash]string{next.Link: "the segment itself"}
	see := func(name string, h Hash) {
		if other, ok := links[h]; ok {
			t.Errorf("%s has the link of %s", name, other)
		}
		links[h] = name
	}
	see("another stream", Genesis("changes", "default", 5).Link)
	see("another account", Genesis("evt_abcdefgh", "acct_a", 5).Link)
	see("another begin", Genesis("evt_abcdefgh", "default", 6).Link)
	see("the begin", base.Link)
	for name, change := range map[string]func(*State, *Segment){
		"first": func(_ *State, g *Segment) { g.First++ }, "last": func(_ *State, g *Segment) { g.Last++ },
		"count": func(_ *State, g *Segment) { g.Count++ }, "root": func(_ *State, g *Segment) { g.Root[3] ^= 1 },
		"marks":  func(_ *State, g *Segment) { g.Marks = []byte("twelve bites") },
		"before": func(s *State, _ *Segment) { s.Link[3] ^= 1 }, "events": func(s *State, _ *Segment) { s.Events++ },
		"seq": func(s *State, _ *Segment) { s.Seq-- }, "time": func(_ *State, g *Segment) { g.Time++ }, "time before": func(s *State, _ *Segment) { s.Time++ },
	} {
		s, g := base, g
		change(&s, &g)
		see(name, s.Next(&g).Link)
	}
}

// An event's hash depends on each text and on its place, and not on columns that a later
// version adds and leaves empty.
func TestLeaf(t *testing.T) {
	e := NewEncoder()
	seen := map[Hash]int{(&Record{}).Leaf(e): -1}
	for i := range Columns {
		var r Record
		r[i] = "x"
		h := r.Leaf(e)
		if other, ok := seen[h]; ok {
			t.Errorf("%s has the hash of column %d", Columns[i], other)
		}
		seen[h] = i
	}
	e.Text("a")
	e.Bytes([]byte("b"))
	short := e.Leaf()
	if (&Record{"a", "b"}).Leaf(e) != short {
		t.Error("empty texts at the end are hashed")
	}
	if (&Record{"ab"}).Leaf(e) == short {
		t.Error("two texts have the hash of one")
	}
}

func TestStreamOf(t *testing.T) {
	for id, want := range map[string]string{
		"evt_abcdefgh00000000001": "evt_abcdefgh", "evt_000000000010000": Changes, "": Changes, "xxxxabcdefgh00000000001": Changes,
	} {
		if got := StreamOf(id); got != want {
			t.Errorf("%q is of the stream %q, want %q", id, got, want)
		}
	}
}
