package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// An account that fills the table with identifiers loses its own; every other account goes on.
func TestNoAccountFillsTheTable(t *testing.T) {
	const places = 64 * 64
	b := NewBuckets(places)
	day := Pace{Limit: 1, Burst: 10, Window: 24 * 3600e9}
	heavy, small := TableOwner("heavy"), TableOwner("small")
	now := int64(1000e9)
	refused := 0
	for i := range 10 * places {
		if b.TakeOf(heavy, NameOf("heavy", fmt.Sprint(i)), day, 1, now, Forever).Full {
			refused++
		}
	}
	if b.Len() != places || refused != 9*places {
		t.Fatalf("%d buckets in %d places, %d refused", b.Len(), places, refused)
	}
	for i := range places / 4 {
		if v := b.TakeOf(small, NameOf("small", fmt.Sprint(i)), day, 1, now, Forever); !v.Allowed || v.Remaining != 9 {
			t.Fatalf("identifier %d of another account: %+v", i, v)
		}
	}
	for i := range places / 4 { // and keeps them while the first goes on
		b.TakeOf(heavy, NameOf("heavy again", fmt.Sprint(i)), day, 1, now, Forever)
		if v := b.TakeOf(small, NameOf("small", fmt.Sprint(i)), day, 1, now, Forever); !v.Allowed || v.Remaining != 8 {
			t.Fatalf("identifier %d of another account, again: %+v", i, v)
		}
	}
	if b.Len() != places {
		t.Errorf("%d buckets in %d places", b.Len(), places)
	}
	b.Prune(now + 11*day.Window)
	for i := range b.shards {
		if n := len(b.shards[i].tenants); n != 0 {
			t.Errorf("shard %d remembers %d owners of nothing", i, n)
		}
	}
}

// Whatever is dropped, and over clean stops, no identifier gets more than its promise.
func TestFairTablesGiveNothingAway(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		b := NewBuckets(64 * 2)
		p := Pace{Limit: 1 + r.Int64N(20), Burst: 1 + r.Int64N(5), Window: 10e9}
		tick, weight := measure(p.Window)
		model := map[Name]*entry{}
		now, began, allowed := int64(1e12), int64(1e12), 0
		for range 4000 {
			now += r.Int64N(20e6)
			who := r.IntN(3)
			n := NameOf(fmt.Sprint(who), fmt.Sprint(r.IntN([]int{300, 100, 5}[who])))
			if v := b.TakeOf(TableOwner(fmt.Sprint(who)), n, p, 1, now, Forever); v.Allowed {
				e := model[n]
				if e == nil {
					e = &entry{at: began, limit: p.Limit, window: p.Window}
					model[n] = e
				}
				e.drain(now, p.Limit)
				if e.used += level(weight); uint64(e.used) > uint64(p.Burst)*weight+uint64(p.Limit) {
					t.Fatalf("seed %d: an identifier got more than %d at once, by %d ticks of %d", seed, p.Burst, uint64(e.used)-uint64(p.Burst)*weight, tick)
				}
				allowed++
			}
			if r.IntN(1000) == 0 {
				out, next := b.Export(now, nil), NewBuckets(64*2)
				if err := next.Import(out, now, 0); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				b = next
			}
		}
		if allowed < 300 {
			t.Fatalf("seed %d: only %d were allowed", seed, allowed)
		}
	}
}

// A forgetful table refuses nobody, and forgets those that have least.
func TestForgetfulTable(t *testing.T) {
	b := NewForgetful(64 * 16)
	p := Pace{Limit: 20, Window: 3600e9}
	guessed := NameOf("guessed")
	for range 20 {
		b.Take(guessed, p, 1, 1e9, Forever)
	}
	for i := range 64 * 64 {
		if v := b.Take(NameOf("stranger", fmt.Sprint(i)), p, 1, 1e9, Forever); !v.Allowed {
			t.Fatalf("stranger %d: %+v", i, v)
		}
	}
	if v := b.Peek(guessed, p, 1, 1e9, Forever); v.Allowed {
		t.Error("the one with most failures is forgotten")
	}
	if b.Len() > 64*16 {
		t.Errorf("%d buckets", b.Len())
	}
}
