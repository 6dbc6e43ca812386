package pool

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

const sec = int64(1e9)

func name(i int) (n Name) {
	copy(n[:], fmt.Sprintf("%c bucket %d", 'a'+i%26, i))
	return n
}

func rosterOf(index uint64, first bool, ids ...string) roster.Roster {
	return roster.Roster{Index: index, Nodes: ids, First: first, Whole: first}
}

func terms(p share.Pace, created uint64) Terms { return Terms{Pace: p, Created: created} }

// had are the terms of a node that has used some units alone.
func had(p share.Pace, units int64) Terms {
	return Terms{Pace: p, Created: 1, Alone: true, Used: units * p.Weight}
}

func open(p *Pool, n Name, t Terms, now int64) *Bucket {
	s := p.Shard(n)
	s.Lock()
	defer s.Unlock()
	return s.Open(nil, n, t, now)
}

// Where a bucket begins.
func TestBeginnings(t *testing.T) {
	limit := share.Minute(60, 60)
	three := rosterOf(5, true, "a", "b", "c")
	grown := roster.Roster{Index: 5, Nodes: three.Nodes, First: true}
	for _, row := range []struct {
		name  string
		begin []roster.Roster // at 10 s
		boot  uint64
		then  [][]roster.Roster // each a second later
		terms Terms
		at    int64
		want  int64 // units, at at
	}{
		{"no roster", nil, 0, nil, terms(limit, 9), 100 * sec, -1},
		{"the first roster", nil, 4, [][]roster.Roster{{three}}, terms(limit, 1), 11 * sec, 20},
		{"the first roster, seen before", nil, 5, [][]roster.Roster{{three}}, terms(limit, 1), 11 * sec, 0},
		{"created since the start", []roster.Roster{three}, 8, nil, terms(limit, 9), 11 * sec, 20},
		{"older than the start", []roster.Roster{three}, 9, nil, terms(limit, 9), 11 * sec, 0},
		{"older, and quarantined", []roster.Roster{three}, 9, nil, terms(limit, 9), 15 * sec, 0},
		{"older, and refilled", []roster.Roster{three}, 9, nil, terms(limit, 9), 100 * sec, 20},
		{
			"a node left", []roster.Roster{three}, 8, [][]roster.Roster{{three, rosterOf(12, false, "a", "b")}, {rosterOf(12, false, "a", "b")}},
			terms(limit, 9), 12 * sec, 20,
		},
		{
			"a node left long ago", []roster.Roster{three}, 8, [][]roster.Roster{{three, rosterOf(12, false, "a", "b")}, {rosterOf(12, false, "a", "b")}},
			terms(limit, 9), 100 * sec, 30,
		},
		{"this one left", []roster.Roster{three}, 8, [][]roster.Roster{{three, rosterOf(12, false, "b", "c")}}, terms(limit, 9), 20 * sec, 0},
		{"this one left a moment ago", []roster.Roster{three}, 8, [][]roster.Roster{{three, rosterOf(12, false, "b", "c")}}, terms(limit, 9), 12 * sec, 20},
		{"the first roster, before this process", []roster.Roster{three}, 0, nil, terms(limit, 1), 10 * sec, 20},
		{"the first roster, where a node was alone", []roster.Roster{grown}, 0, nil, terms(limit, 1), 10 * sec, 0},
		{"that node", nil, 4, [][]roster.Roster{{grown}}, terms(limit, 1), 11 * sec, 0},
		{"that node, with what it had", nil, 4, [][]roster.Roster{{grown}}, had(limit, 5), 11 * sec, 15},
		{"that node, later", nil, 4, [][]roster.Roster{{grown}}, had(limit, 5), 14 * sec, 12},
		{"a new node, without quarantine", []roster.Roster{rosterOf(7, false, "a", "b"), rosterOf(12, false, "a", "b", "c")}, 0, nil, terms(limit, 9), 13*sec + sec/10, 1},
		{"newer than a pending roster", []roster.Roster{three, rosterOf(12, false, "a", "b")}, 8, nil, terms(limit, 13), 10 * sec, 20},
		{"older than a settled roster", []roster.Roster{rosterOf(12, false, "a", "b")}, 8, nil, terms(limit, 9), 10 * sec, 0},
		{
			"created while this one shrinks", []roster.Roster{three}, 8, [][]roster.Roster{{three, rosterOf(12, false, "b", "c")}},
			terms(limit, 13), 11 * sec, 0,
		},
		{"no limit", []roster.Roster{three}, 8, nil, terms(share.Pace{}, 9), 12 * sec, -1},
	} {
		p := New("a")
		p.Begin(row.begin, row.boot, 10*sec)
		for i, rs := range row.then {
			if !p.Follow(rs, true, int64(11+i)*sec) {
				t.Fatalf("%s: step %d does not follow", row.name, i)
			}
		}
		b := open(p, name(1), row.terms, row.at)
		got := int64(-1)
		if b != nil {
			got = b.Left()
		}
		if got != row.want {
			t.Errorf("%s: %d units, want %d", row.name, got, row.want)
		}
	}
}

// A bucket that is there goes through the same steps as one that is made later.
func TestLateBucketsGoThroughTheSameSteps(t *testing.T) {
	early, late := New("a"), New("a")
	limit := terms(share.Minute(60, 60), 9)
	rs := []roster.Roster{rosterOf(5, true, "a", "b", "c")}
	early.Begin(rs, 0, 0)
	late.Begin(rs, 0, 0)
	for i := range 60 {
		open(early, name(1), limit, int64(i)*sec)
		if i%2 == 0 {
			ids := []string{"a", "b", "c", "d"}[:2+i/2%3]
			rs = append([]roster.Roster{rs[0]}, rosterOf(uint64(10+i), false, ids...))
		} else {
			rs = rs[1:]
		}
		if !early.Follow(rs, i%5 > 0, int64(i)*sec) || !late.Follow(rs, i%5 > 0, int64(i)*sec) {
			t.Fatal("an entry does not follow")
		}
		x, y := open(early, name(1), limit, int64(i)*sec+sec/2), open(late, name(100+i), limit, int64(i)*sec+sec/2)
		if i < 30 && (x.Left() < y.Left() || y.Left() < 0) {
			t.Fatalf("step %d: %d units in the early one, %d in a late one", i, x.Left(), y.Left())
		}
	}
	// One that slept through more than is kept begins as after a crash.
	p := New("a")
	rs = []roster.Roster{rosterOf(5, true, "a", "b", "c")}
	p.Begin(rs, 0, 0)
	if b := open(p, name(1), limit, sec); b.Left() != 20 {
		t.Fatalf("begins with %d", b.Left())
	}
	for i := range 50 {
		if i%2 == 0 {
			rs = append([]roster.Roster{rs[0]}, rosterOf(uint64(10+i), false, "a", "b", "c"))
		} else {
			rs = rs[1:]
		}
		p.Follow(rs, true, 2*sec)
	}
	if b := open(p, name(1), limit, 2*sec); b.Left() != 0 {
		t.Errorf("has %d after steps that it did not see", b.Left())
	}
	if p.Begin(rs, 100, 200*sec); p.Len() != 0 {
		t.Errorf("%d buckets outlive a new beginning", p.Len())
	}
	if p.Follow([]roster.Roster{rosterOf(99, false, "a")}, true, 201*sec) {
		t.Error("a roster from nowhere follows")
	}
}

// Idle buckets are dropped, and a pointer to one finds the new one.
func TestIdleBucketsAreDropped(t *testing.T) {
	p := New("a")
	p.Begin([]roster.Roster{rosterOf(5, true, "a", "b")}, 0, 0)
	limit := terms(share.Minute(60, 60), 9)
	old := open(p, name(1), limit, sec)
	old.Spend(1)
	old.Count(1, sec)
	tick := func(now int64) (n int) {
		p.Each(func(s *Shard) { s.Tick(now, func(*Bucket) { n++ }) })
		return n
	}
	if tick(5*sec) != 1 || p.Len() != 1 {
		t.Error("a bucket in use is dropped")
	}
	news := old.Listen() // nobody may wait any more: a request that was refused leaves it behind
	if tick(100*sec) != 0 || p.Len() != 0 {
		t.Error("an idle bucket is kept")
	}
	select {
	case <-news:
	default:
		t.Error("a request that waits is not told that the bucket is gone")
	}
	s := p.Shard(name(1))
	s.Lock()
	defer s.Unlock()
	if b := s.Open(old, name(1), limit, 101*sec); b == old || b.Left() != 30 {
		t.Errorf("the old one is used again: %v", b == old)
	}
	if s.Find(name(27), 101*sec) != nil {
		t.Error("finds a bucket that is not there")
	}
	p.bounds.Traffic = 0
	p.places.Store(0)
	if s.Open(nil, name(27), limit, 101*sec) != nil {
		t.Error("there are more buckets than places")
	}
}

func TestPeers(t *testing.T) {
	p := New("a")
	p.Begin([]roster.Roster{rosterOf(5, true, "a", "b", "c")}, 0, 0)
	p.SetReach(&Reach{Nodes: []string{"b", "c", "x"}, Peers: []share.Peer{7, 8, 9}})
	homes := map[share.Peer]int{}
	for i := range 300 {
		b := open(p, name(i), terms(share.Minute(6, 6), 9), sec)
		ps := b.Peers()
		if !ps.Tiny || len(ps.Up) != 2 || ps.Here != (ps.Home == -1) {
			t.Fatalf("%+v", ps)
		}
		homes[ps.Home]++
	}
	if len(homes) != 3 || homes[7] < 50 || homes[8] < 50 || homes[-1] < 50 {
		t.Errorf("homes %v", homes)
	}
	b := open(p, name(1000), terms(share.Minute(12, 12), 9), sec)
	if ps := b.Peers(); ps.Tiny || ps.Base != share.One/3 {
		t.Errorf("%+v", ps)
	}
	if b = open(p, name(1000), terms(share.Minute(11, 11), 9), sec); !b.Peers().Tiny {
		t.Error("a lowered limit is not tiny")
	}
}

// Requests and lenders at once: under the shard's lock no token is made. Run with -race.
func TestConcurrentRequestsAndLoans(t *testing.T) {
	pools := []*Pool{New("a"), New("b")}
	for _, p := range pools {
		p.Begin([]roster.Roster{rosterOf(5, true, "a", "b")}, 0, 0)
	}
	limit := terms(share.Minute(600, 6000), 9)
	n := name(1)
	var now, ids, admitted atomic.Int64
	var all sync.WaitGroup
	for side := range 2 {
		me, other, peer := pools[side], pools[1-side], share.Peer(1)
		me.SetReach(&Reach{Nodes: []string{"a", "b"}[1-side : 2-side], Peers: []share.Peer{peer}})
		for range 4 {
			all.Go(func() {
				for range 3000 {
					at := now.Add(10_000)
					s := me.Shard(n)
					s.Lock()
					b := s.Open(nil, n, limit, at)
					b.Count(1, at)
					var out []share.Sent
					if b.Has(1) {
						b.Spend(1)
						admitted.Add(1)
					} else {
						out = b.Ask(1, b.Peers(), func() uint64 { return uint64(ids.Add(1)) }, uint64(at), at)
					}
					s.Unlock()
					for _, m := range out {
						o := other.Shard(n)
						o.Lock()
						r, ok := o.Open(nil, n, limit, at).OnFetch(peer, &m.Fetch, now.Load())
						o.Unlock()
						if ok {
							s.Lock()
							s.Open(nil, n, limit, at).OnReply(peer, &r, now.Load())
							s.Unlock()
						}
					}
				}
			})
		}
	}
	all.Wait()
	if most := 6000 + 600*now.Load()/(60*sec) + 1; admitted.Load() > most || admitted.Load() < 5900 {
		t.Errorf("%d admitted, at most %d", admitted.Load(), most)
	}
}

// A clean stop keeps what a node has, and what it has lent, over the next start; a roster
// that it has missed makes it a start like any other.
func TestResume(t *testing.T) {
	three := []roster.Roster{rosterOf(5, true, "a", "b", "c")}
	limit := terms(share.Minute(60, 60), 3)
	later := append(three[:1:1], rosterOf(12, false, "a", "b"))
	for _, row := range []struct {
		name    string
		rosters []roster.Roster
		ok      bool
		want    int64 // a second later
	}{
		{"the same nodes", three, true, 12}, // 8 of 20 are gone, and 3 s refill nearly 1
		{"one more roster", later, true, 12},
		{"more than one", later[1:], false, 0},
	} {
		p := New("a")
		p.Begin(nil, 4, 10*sec)
		p.Follow(three, true, 11*sec)
		b := open(p, name(1), limit, 11*sec)
		for range 8 {
			b.Spend(1)
		}
		untouched := open(p, name(27), limit, 11*sec).Left()
		raw, err := p.Save(12 * sec)
		if err != nil || open(p, name(1), limit, 12*sec) != nil {
			t.Fatalf("%s: %v, or a bucket is in use after the stop", row.name, err)
		}
		q := New("a")
		if err := q.Resume(raw, row.rosters, 0, 13*sec); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.name, err)
			continue
		} else if err != nil {
			continue
		}
		if got := open(q, name(1), limit, 14*sec).Left(); got != row.want {
			t.Errorf("%s: %d units, want %d", row.name, got, row.want)
		}
		if got := open(q, name(27), limit, 14*sec).Left(); got != untouched {
			t.Errorf("%s: a bucket that was not in use has %d units, want %d", row.name, got, untouched)
		}
	}
	if err := New("a").Resume([]byte("x"), three, 0, 0); err == nil {
		t.Error("resumes from nothing")
	}
}
