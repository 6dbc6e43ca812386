package pool

import (
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

func owner(name string, identifiers bool) Owner {
	var d [16]byte
	copy(d[:], name)
	return OwnerOf(d, identifiers)
}

func identifier(who string, i int) (n Name) {
	copy(n[1:], fmt.Sprint(i, who))
	n[0] = byte(i)
	return n
}

// day is a limit that keeps its place for long.
var day = share.Pace{Burst: 10, Rate: 1, Weight: 24 * 3600_000_000, Tick: 1000}

// An account that fills the places of identifiers with its own loses them, nothing else.
func TestNoAccountFillsThePlaces(t *testing.T) {
	const places = 64 * 64
	p := NewBounded("a", Bounds{Traffic: 64, Identifiers: places})
	p.Begin([]roster.Roster{rosterOf(5, true, "a")}, 0, 0)
	heavy, small := Terms{Pace: day, Owner: owner("heavy", true)}, Terms{Pace: day, Owner: owner("small", true)}
	take := func(who string, i int, t Terms) *Bucket {
		b := open(p, identifier(who, i), t, sec)
		if b != nil && b.Has(1) {
			b.Spend(1)
			b.Count(1, sec)
		}
		return b
	}
	refused := 0
	for i := range 3 * places {
		if take("heavy", i, heavy) == nil {
			refused++
		}
	}
	if p.Len() != places || refused != 2*places {
		t.Fatalf("%d buckets in %d places, %d refused", p.Len(), places, refused)
	}
	for round := range 2 {
		for i := range places / 4 {
			if b := take("small", i, small); b == nil || b.Left() != int64(9-round) {
				t.Fatalf("round %d: identifier %d of another account: %v", round, i, b)
			}
			take("heavy", 9*places+i, heavy)
		}
	}
	if b := open(p, name(1), Terms{Pace: day, Created: 9, Owner: owner("heavy", false)}, sec); b == nil {
		t.Error("identifiers take the places of traffic")
	}
	for _, shard := range []int{0, 1} {
		p.shards[shard].Tick(1<<62, func(*Bucket) {})
		if s := &p.shards[shard]; s.buckets.n > 1 || s.identifiers != 0 || s.accounts != 0 {
			t.Errorf("shard %d has %d buckets, %d identifiers of %d accounts when all are whole", shard, s.buckets.n, s.identifiers, s.accounts)
		}
	}
}

// The last places for traffic are for accounts that have little.
func TestLastPlacesOfTraffic(t *testing.T) {
	p := NewBounded("a", Bounds{Traffic: 100, Identifiers: 64})
	p.Begin([]roster.Roster{rosterOf(5, true, "a")}, 0, 0)
	heavy := owner("heavy", false)
	made := 0
	for i := range 200 {
		n := name(i)
		n[0] = 7
		if open(p, n, Terms{Pace: day, Created: 9, Owner: heavy}, sec) != nil {
			made++
		}
	}
	if made != 100 {
		t.Errorf("an account that is alone has %d of 100 places", made)
	}
	p.Begin([]roster.Roster{rosterOf(5, true, "a")}, 0, 0)
	made = 0
	open(p, name(1), Terms{Pace: day, Created: 9, Owner: owner("small", false)}, sec)
	for i := range 200 {
		n := name(i)
		n[0] = 7
		if open(p, n, Terms{Pace: day, Created: 9, Owner: heavy}, sec) != nil {
			made++
		}
	}
	for i := range 20 {
		if open(p, name(1000+i), Terms{Pace: day, Created: 9, Owner: owner(fmt.Sprint(i), false)}, sec) == nil {
			t.Errorf("account %d has no place beside one with %d", i, made)
		}
	}
	if made != 74 {
		t.Errorf("an account beside another has %d of 100 places", made)
	}
}

// A bucket that a node of an earlier version has asked for is counted for its account as soon as
// that is known.
func TestOwnerBecomesKnown(t *testing.T) {
	p := New("a")
	p.Begin([]roster.Roster{rosterOf(5, true, "a")}, 0, 0)
	open(p, name(1), Terms{Pace: day}, sec)
	s := p.Shard(name(1))
	if s.identifiers != 1 || s.tenants[1].n != 1 {
		t.Fatalf("%+v", s.tenants)
	}
	who := owner("x", true)
	if b := open(p, name(1), Terms{Pace: day, Owner: who}, sec); b.Terms().Owner != who || s.identifiers != 1 || s.accounts != 1 || len(s.tenants) != 1 {
		t.Errorf("%+v", s.tenants)
	}
}

// An identifier that has lost its place begins as after a crash at that moment, also after a
// clean stop; those of other accounts begin full.
func TestDroppedIdentifiersGiveNothingAway(t *testing.T) {
	most := Bounds{Traffic: 64, Identifiers: 64 * 4}
	p := NewBounded("a", most)
	rosters := []roster.Roster{rosterOf(5, true, "a")}
	p.Begin(rosters, 0, 0)
	heavy, small := Terms{Pace: day, Owner: owner("heavy", true)}, Terms{Pace: day, Owner: owner("small", true)}
	var first []*Bucket
	for i := range 4 {
		b := open(p, identifier("heavy", 64*i), heavy, sec)
		b.Spend(day.Burst)
		first = append(first, b)
	}
	if b := open(p, identifier("small", 0), small, sec); b == nil || b.Left() != day.Burst {
		t.Fatalf("another account: %v", b)
	}
	lost := -1
	for i, b := range first {
		if b.gone {
			lost = i
		}
	}
	if lost < 0 {
		t.Fatal("nothing lost its place")
	}
	if open(p, identifier("heavy", 64*lost), heavy, 2*sec) != nil {
		t.Fatal("an account with more than its share gets a place of another")
	}
	raw, err := p.Save(3 * sec)
	q := NewBounded("a", most)
	if err != nil || q.Resume(raw, rosters, 1000*sec, 1003*sec) != nil {
		t.Fatal(err)
	}
	if b := open(q, identifier("heavy", 64*lost), heavy, 1030*sec); b == nil || b.Left() != 0 {
		t.Errorf("the one that was dropped: %v", b)
	}
	if b := open(q, identifier("small", 128), small, 1030*sec); b == nil || b.Left() != day.Burst {
		t.Errorf("another account begins with %v", b)
	}
}
