package share

import (
	"testing"
)

const (
	sec  = int64(1e9)
	ms   = int64(1e6)
	unit = int64(60e9)
)

// ids counts exchanges.
type ids uint64

func (i *ids) next() uint64 { *i++; return uint64(*i) }

// two is two nodes with half of a bucket each, A and B, and their names for each other.
const (
	peerA Peer = 1
	peerB Peer = 2
)

func two(burst, rate int64) (a, b *Bucket) {
	p := Minute(rate, burst)
	return New(p, One/2, 0), New(p, One/2, 0)
}

func peersOf(p ...Peer) *Peers { return &Peers{Up: p, Base: One / Part(len(p)+1), Home: nobody} }

func holdsOf(end, level int64) []hold { return []hold{{end, level}} }

// drain takes every unit of a bucket.
func drain(b *Bucket, now int64) (n int64) {
	for b.Advance(now); b.Has(1); n++ {
		b.Spend(1)
		b.Count(1, now)
	}
	return n
}

// lendAll has a borrow from b at now, and returns the parts that a has afterwards.
func lendAll(t *testing.T, a, b *Bucket, id *ids, now int64) Reply {
	t.Helper()
	out := a.Ask(1, peersOf(peerB), id.next, 0, now)
	if len(out) != 1 || out[0].To != peerB {
		t.Fatalf("A asks %+v", out)
	}
	r, ok := b.OnFetch(peerA, &out[0].Fetch, now)
	if !ok {
		t.Fatal("B does not answer")
	}
	a.OnReply(peerB, &r, now)
	return r
}

func TestIdleNodeLendsWhatABusyOneNeeds(t *testing.T) {
	a, b := two(120, 120)
	var id ids
	if n := drain(a, 0); n != 60 {
		t.Fatalf("A admits %d at once, want its half", n)
	}
	lendAll(t, a, b, &id, ms)
	if a.part.wide() != One || b.part.wide() != 0 {
		t.Errorf("A has %v, B has %v of the bucket", a.part.wide(), b.part.wide())
	}
	if n := drain(a, 2*ms); n != 60 {
		t.Errorf("A admits %d of the tokens that B lent", n)
	}
	// It ends by itself, at A first.
	a.Advance(ms + TTL - TTL/1000)
	b.Advance(ms + TTL - TTL/1000)
	if a.part.wide() != One/2 || b.part.wide() != 0 {
		t.Errorf("after its time A has %v, B %v", a.part.wide(), b.part.wide())
	}
	if b.Advance(ms + TTL + grain); b.part.wide() != One/2 || b.Left() != 0 {
		t.Errorf("B has %v with %d, want its half again, empty", b.part.wide(), b.Left())
	}
}

// A repeated question gets the same answer, a repeated answer is not taken, and a
// question that is forgotten is not answered.
func TestExchangesCountOnce(t *testing.T) {
	a, b := two(120, 120)
	var id ids
	drain(a, 0)
	out := a.Ask(1, peersOf(peerB), id.next, 0, ms)
	r, _ := b.OnFetch(peerA, &out[0].Fetch, ms)
	part, tok := b.part.wide(), b.tok
	again, ok := b.OnFetch(peerA, &out[0].Fetch, 2*ms)
	if !ok || again.Tokens != r.Tokens || len(again.Grants) != len(r.Grants) || b.part.wide() != part {
		t.Errorf("the repeat is answered with %+v, after %+v; B has %v and %d, had %v and %d", again, r, b.part.wide(), b.tok, part, tok)
	}
	a.OnReply(peerB, &r, 3*ms)
	part, tok = a.part.wide(), a.tok
	if a.OnReply(peerB, &again, 3*ms); a.part.wide() != part || a.tok != tok {
		t.Error("a repeated answer was taken")
	}
	for range maxPast {
		b.OnFetch(peerA, &Fetch{ID: id.next()}, 4*ms)
	}
	if _, ok := b.OnFetch(peerA, &out[0].Fetch, 5*ms); ok {
		t.Error("a forgotten question is answered")
	}
	// Returned twice, with another loan of the same stamp in between.
	stamp := r.Grants[0].Stamp
	back := Return{ID: id.next(), Stamp: stamp, Part: r.Grants[0].Part, Tokens: 1}
	b.OnReturn(peerA, &back, 6*ms)
	if b.part.wide() != One/2 {
		t.Fatalf("B has %v after the return", b.part.wide())
	}
	b.more.lendTo(peerA, One/4, stamp)
	b.rights(b.at)
	if b.OnReturn(peerA, &back, 7*ms); b.part.wide() != One/4 {
		t.Errorf("B has %v after the repeat of the return", b.part.wide())
	}
}

// A renewal names the loan by its stamp: another one that nobody knows of ends.
func TestRenewalNamesItsLoan(t *testing.T) {
	a, b := two(120, 120)
	var id ids
	drain(a, 0)
	r := lendAll(t, a, b, &id, ms)
	lost := r.Grants[0].Stamp - grain
	b.more.lent[0].part /= 2
	b.more.lendTo(peerA, b.more.lent[0].part, lost) // its answer was lost
	a.more.held[0].part /= 2
	a.rights(a.at)
	a.dem, a.seen = 100, 3*sec
	out := a.Tick(id.next, 3*sec)
	if len(out) != 1 || out[0].Renew == nil || out[0].Renew.Stamp != r.Grants[0].Stamp {
		t.Fatalf("A sends %+v", out)
	}
	got, _ := b.OnRenew(peerA, out[0].Renew, 3*sec)
	if again, ok := b.OnRenew(peerA, out[0].Renew, 3*sec+ms); !ok || again != got { // the answer was lost
		t.Errorf("the repeat is answered with %+v, after %+v", again, got)
	}
	a.OnRenewed(peerB, &got, 3*sec+2*ms)
	at := 1*ms + TTL + 2*grain
	a.Advance(at)
	b.Advance(at)
	if a.part.wide() != One/2+One/4 || b.part.wide() != One/4 {
		t.Errorf("A has %v, B has %v: the loan that nobody knows of goes on", a.part.wide(), b.part.wide())
	}
	if a.OnRenewed(peerB, &got, at); a.part.wide() != One/2+One/4 {
		t.Error("a repeated answer was taken")
	}
}

// Tokens without a part are worth nothing once the lender may have them again.
func TestTokensEndBeforeTheirHold(t *testing.T) {
	hold := Minute(6, 3).hold()
	for _, c := range []struct {
		after int64
		want  bool
	}{{hold - ms, true}, {hold, false}} {
		p := Minute(6, 3)
		a, b := New(p, 0, 0), New(p, One, 0)
		var id ids
		out := a.Ask(1, peersOf(peerB), id.next, 0, 0)
		r, _ := b.OnFetch(peerA, &out[0].Fetch, ms)
		if r.Held != unit || r.Tokens != unit || len(r.Grants) > 0 {
			t.Fatalf("B gives %+v, want one token on a hold", r)
		}
		if b.Left() != 2 {
			t.Errorf("B has %d left", b.Left())
		}
		if b.Advance(hold - ms); b.cap != 2*unit {
			t.Errorf("B may have %d while the token is out", b.cap)
		}
		if a.OnReply(peerB, &r, c.after); a.Has(1) != c.want {
			t.Errorf("an answer after %d ms: has %v", c.after/ms, a.Has(1))
		}
		if a.Advance(2 * hold); a.tok != 0 {
			t.Errorf("a token is there after its hold: %d", a.tok)
		}
	}
}

// What backs a hold is not lent, and not given back.
func TestWhatBacksAHoldStays(t *testing.T) {
	hold := Minute(24, 24).hold()
	b := New(Minute(24, 24), One/2, 0)
	var id ids
	r, _ := b.OnFetch(peerA, &Fetch{ID: id.next(), Need: 12 * unit, Demand: 1e-9}, 0)
	if b.more.holds == nil && len(r.Grants) == 0 {
		t.Fatalf("B gives %+v", r)
	}
	b = New(Minute(24, 24), One/2, 0)
	b.tok -= 6 * unit
	b.more = &more{holds: holdsOf(hold, 6*unit)}
	b.rights(0)
	r, _ = b.OnFetch(peerA, &Fetch{ID: id.next(), Need: unit, Demand: 1000, Part: One / 2}, 0)
	if left := b.Pace().cap(b.part.wide()); left < 6*unit {
		t.Errorf("B keeps a part of %d units, and a hold of 6: %+v", left/unit, r)
	}
	a := New(Minute(24, 24), One/2, 0)
	a.more = &more{held: []slice{{from: peerB, stamp: TTL, end: TTL, part: One / 2}}, holds: holdsOf(4*sec+hold, unit)}
	a.rights(0)
	if out := a.Tick(id.next, 4*sec); len(out) != 1 || out[0].Renew == nil {
		t.Errorf("a part that backs a hold is not just renewed: %+v", out)
	}
}

// Nobody borrows from a process that may have lent everything before it started.
func TestQuarantineAfterAStart(t *testing.T) {
	b := NewAfterStart(Minute(60, 60), One/2, 10*sec, 12*sec)
	if b.Has(1) || b.part.wide() != 0 {
		t.Errorf("has %d of part %v", b.tok, b.part.wide())
	}
	var id ids
	if r, _ := b.OnFetch(peerA, &Fetch{ID: id.next(), Need: unit, Demand: 1}, 12*sec); r.Tokens != 0 || r.Grants != nil {
		t.Errorf("lends %+v", r)
	}
	if b.Advance(10*sec + TTL); b.part.wide() != One/2 || b.tok != 0 {
		t.Errorf("after it: %v with %d", b.part.wide(), b.tok)
	}
	if b.Advance(16 * sec); b.Left() != 0 || b.tok < 29*unit/60 {
		t.Errorf("a second later: %d levels", b.tok)
	}
	// One that is met for the first time long after the start is full.
	if b := NewAfterStart(Minute(60, 60), One/2, 10*sec, 100*sec); b.Left() != 30 {
		t.Errorf("met late, it has %d", b.Left())
	}
}

// A suspended machine wakes with every loan ended on both sides.
func TestSuspend(t *testing.T) {
	a, b := two(120, 120)
	var id ids
	drain(a, 0)
	lendAll(t, a, b, &id, ms)
	out := a.Ask(130, peersOf(peerB), id.next, 0, ms)
	if out != nil {
		t.Fatal("asks for more than the burst")
	}
	a.Advance(3600 * sec)
	b.Advance(3600 * sec)
	if a.part.wide() != One/2 || b.part.wide() != One/2 || a.Left() != 60 || b.Left() != 60 {
		t.Errorf("A has %v with %d, B %v with %d", a.part.wide(), a.Left(), b.part.wide(), b.Left())
	}
}

// Consumption outlives a changed limit, and no change of it makes tokens.
func TestAChangedLimitKeepsTheConsumption(t *testing.T) {
	p, q := Minute(60, 60), Minute(600, 600)
	b := New(p, One/2, 0)
	for range 20 {
		b.Spend(1)
	}
	for range 3 {
		if b.Adopt(q, 0); b.Left() != 280 {
			t.Errorf("at 600: %d left, want 280", b.Left())
		}
		if b.Adopt(p, 0); b.Left() != 10 {
			t.Errorf("at 60: %d left, want 10", b.Left())
		}
	}
	b.Adopt(q, 0)
	for range 100 {
		b.Spend(1)
	}
	b.Adopt(p, 0)
	if b.tok != -90*unit {
		t.Errorf("lowered below the consumption: %d, want -90 units", b.tok/unit)
	}
	if b.Advance(100 * sec); b.Left() != 0 || b.Has(1) {
		t.Errorf("100 s later: %d", b.Left())
	}
	// Tokens on a hold were for the old limit.
	b = New(p, 0, 0)
	b.more = &more{loose: []hold{{sec, 5 * unit}}}
	b.rights(0)
	b.tok = 5 * unit
	if b.Adopt(q, 0); b.tok != 0 {
		t.Errorf("%d tokens on a hold outlive the limit", b.tok/unit)
	}
	// Another unit.
	b = New(p, One/2, 0)
	b.Adopt(Pace{Burst: 60, Rate: 60, Weight: unit, Tick: 10}, 0)
	if b.tok != 0 {
		t.Errorf("in another unit: %d", b.tok)
	}
}

// A base that shrinks stays usable for a TTL, and loans beyond it end then.
func TestShrunkBase(t *testing.T) {
	b := New(Minute(60, 60), One/2, 0)
	var id ids
	r, _ := b.OnFetch(peerA, &Fetch{ID: id.next(), Need: unit, Demand: 1e6, Part: One / 2, Tok: 0}, 900*ms)
	if len(r.Grants) != 1 || b.part.wide() != 0 {
		t.Fatalf("B lends %+v", r)
	}
	b.Rebase(One/4, true, sec)
	loan := r.Grants[0]
	got, _ := b.OnRenew(peerA, &Renew{ID: id.next(), Stamp: loan.Stamp, Part: loan.Part}, 4*sec)
	if got.Part != One/4 || got.Short != 0 {
		t.Errorf("renewed %+v: beyond the base, a loan never gets an end before its own", got)
	}
	if b.Advance(loan.Stamp); b.more.lentAll() != One/4 || b.part.wide() != 0 {
		t.Errorf("after the loan's end %v is lent, and %v here", b.more.lentAll(), b.part.wide())
	}
	// With its base here: a part without an owner, until the grace ends.
	b = New(Minute(60, 60), One/2, 0)
	if b.Rebase(0, true, sec); b.part.wide() != One/2 || b.Left() != 30 {
		t.Errorf("%v with %d right after", b.part.wide(), b.Left())
	}
	if out := b.Tick(id.next, 5*sec); out != nil {
		t.Errorf("a part without an owner is renewed or returned: %+v", out)
	}
	if b.Advance(sec + shorter(TTL)); b.part.wide() != 0 || b.tok != 0 {
		t.Errorf("%v with %d after the grace", b.part.wide(), b.tok)
	}
	if b.Rebase(One, true, 10*sec); b.part.wide() != One || b.tok != 0 {
		t.Errorf("grown to %v with %d", b.part.wide(), b.tok)
	}
	// Without a lease there is no grace: others may have grown already.
	b = New(Minute(60, 60), One/2, 0)
	if b.Rebase(One/4, false, sec); b.part.wide() != One/4 || b.Left() != 15 {
		t.Errorf("without a lease: %v with %d", b.part.wide(), b.Left())
	}
	// A loan beyond the base that is renewed late ends with the grace.
	b = New(Minute(60, 60), One/2, 0)
	b.more = &more{}
	b.more.lendTo(peerA, One/2, 2*sec)
	b.rights(0)
	b.Rebase(One/4, true, sec)
	got, _ = b.OnRenew(peerA, &Renew{ID: id.next(), Stamp: 2 * sec, Part: One / 2}, sec)
	if got.Part != One/4 || got.Short != One/4 || got.Left != shorter(TTL) {
		t.Errorf("renewed %+v", got)
	}
}
