package share

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// genMore is a state of exchanges as it may be at rest: at the precision of that.
func genMore(t *rapid.T, now int64) *more {
	m := new(more)
	time := rapid.Int64Range(now-3*TTL, now+3*TTL)
	part := rapid.Custom(func(t *rapid.T) Part {
		return rapid.OneOf(rapid.Just(One), rapid.Map(rapid.Int64Range(1, int64(One-2)), func(x int64) Part { return Part(x) })).Draw(t, "part")
	})
	peer := rapid.Map(rapid.Int32Range(-1, 300), func(x int32) Peer { return Peer(x) })
	some := rapid.IntRange(0, 3)
	for i := range some.Draw(t, "views") {
		at := max(1, rapid.Int64Range(now-1000*sec, now).Draw(t, "at")/milli) * milli
		m.views = append(m.views, view{peer: Peer(i * 70000), at: at, s: State{rapid.Int64().Draw(t, "tok"), part.Draw(t, "part"), 1.5}})
	}
	for i := range some.Draw(t, "past") {
		m.past = append(m.past, past{peer: Peer(i), at: now / grain * grain, floor: rapid.Uint64().Draw(t, "floor")})
	}
	for range some.Draw(t, "lent") {
		m.lent = append(m.lent, loan{peer.Draw(t, "to"), time.Draw(t, "end"), part.Draw(t, "part")})
	}
	for range some.Draw(t, "held") {
		m.held = append(m.held, slice{peer.Draw(t, "from"), time.Draw(t, "stamp"), time.Draw(t, "end"), part.Draw(t, "part")})
	}
	if rapid.Bool().Draw(t, "bases") {
		m.grace, m.quarantine = now+time.Draw(t, "grace"), time.Draw(t, "quarantine")
	}
	later := rapid.Int64Range(now+1, now+TTL)
	if a := &m.asking; rapid.Bool().Draw(t, "patience") {
		a.back, a.probing, a.ahead = backFirst, 2*backFirst, aheadFirst
		a.next, a.probe, a.budget = later.Draw(t, "next"), later.Draw(t, "probe"), later.Draw(t, "budget")
	}
	if rapid.Bool().Draw(t, "ahead") {
		m.asking.aheadAt = (later.Draw(t, "aheadAt") + milli) / milli * milli
	}
	return m
}

// The state of exchanges is the same after a rest, and requests see it without waking it.
func TestRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.Int64Range(1000*sec, 400*24*3600*sec).Draw(t, "now")
		m := genMore(t, now)
		want, b := *m, New(Minute(60, 60), One/2, now)
		want.views, want.past = append([]view(nil), m.views...), append([]past(nil), m.past...)
		want.lent, want.held = append([]loan(nil), m.lent...), append([]slice(nil), m.held...)
		b.more = m
		Rest(b, now)
		if b.more != nil {
			t.Fatal("awake")
		}
		for _, v := range want.views {
			if got := word(b, v.peer); got != v {
				t.Fatalf("of %d the last word is %+v, want %+v", v.peer, got, v)
			}
		}
		if got := aheadAt(b); got != want.asking.aheadAt {
			t.Fatalf("asks ahead at %d, want %d", got, want.asking.aheadAt)
		}
		got := more{}
		if b.rest != "" {
			got.unpack(b.rest, now)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("after a rest of %d bytes:\n%+v, want\n%+v", len(b.rest), got, want)
		}
	})
}

// In a cluster of three, a borrower with a part of each of the others and a lender with two
// loans need little.
func TestRestIsSmall(t *testing.T) {
	now, id := 30*24*3600*sec, uint64(1_800_000_000_000_000_000)
	views := []view{{peer: 1, at: now, s: State{Tok: 2000 * unit, Part: One / 3}}, {peer: 2, at: now, s: State{Tok: 2000 * unit, Part: One / 3}}}
	loans := []loan{{1, now + 4*sec, One / 7}, {1, now + 5*sec, One / 7}}
	for _, c := range []struct {
		name string
		m    more
		most int
	}{
		{"lender", more{views: views, lent: loans, past: []past{{peer: 1, at: now, floor: id}}}, 80},
		{"borrower", more{views: views, held: []slice{{1, now + 4*sec, now + 4*sec, One / 7}, {2, now + 4*sec, now + 4*sec, One / 7}}, asking: asking{aheadAt: now + milli}}, 96},
	} {
		b := New(Minute(6000, 6000), One/3, now)
		b.more = &c.m
		b.more.views = append([]view(nil), views...)
		if Rest(b, now); len(b.rest) > c.most || len(b.rest) < 40 {
			t.Errorf("a %s needs %d bytes", c.name, len(b.rest))
		}
	}
}

// What is under way is not put to rest.
func TestNoRestWhileAsking(t *testing.T) {
	a, b := two(120, 120)
	var id ids
	drain(a, 0)
	out := a.Ask(1, peersOf(peerB), id.next, 0, ms)
	if Rest(a, ms); a.rest != "" || !a.Asking() {
		t.Fatal("at rest with an open question")
	}
	r, _ := b.OnFetch(peerA, &out[0].Fetch, ms)
	a.OnReply(peerB, &r, ms)
	Rest(a, ms)
	if Rest(b, ms); a.rest == "" || b.rest == "" {
		t.Fatal("awake although nothing is under way")
	}
	if b.OnFetch(peerA, &out[0].Fetch, 2*ms); b.part.wide() != 0 {
		t.Errorf("B has %v after a repeat", b.part.wide())
	}
	if a.Advance(2 * TTL); a.part.wide() != One/2 {
		t.Errorf("A has %v after the loan", a.part.wide())
	}
	if b.Advance(2 * TTL); b.part.wide() != One/2 {
		t.Errorf("B has %v after the loan", b.part.wide())
	}
}
