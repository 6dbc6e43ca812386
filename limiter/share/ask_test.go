package share

import "testing"

// A node without a cap of its own asks one lender at a time; one with a cap asks as many
// as it takes.
func TestOneLenderAtATimeForSmallParts(t *testing.T) {
	var id ids
	small := New(Minute(36, 36), 0, 0)
	if out := small.Ask(1, peersOf(2, 3, 4), id.next, 0, 0); len(out) != 1 {
		t.Errorf("a node without a part asks %d", len(out))
	}
	big := New(Minute(3600, 3600), One/4, 0)
	big.Hint(2, State{Tok: unit / 2, Part: One / 4}, 1)
	big.Hint(3, State{Tok: unit / 2, Part: One / 4}, 1)
	drain(big, 0)
	if out := big.Ask(2, peersOf(2, 3, 4), id.next, 0, ms); len(out) < 1 || out[0].To != 4 {
		t.Errorf("a node with a part asks %+v, and not the one with tokens first", out)
	}
	big = New(Minute(3600, 3600), One/4, 0)
	for p := Peer(2); p <= 4; p++ {
		big.Hint(p, State{Tok: 2 * unit, Part: One / 4, Demand: 1}, 1)
	}
	drain(big, 0)
	if out := big.Ask(5, peersOf(2, 3, 4), id.next, 0, ms); len(out) != 3 {
		t.Errorf("a node that lacks five asks %d of three with two each", len(out))
	}
}

// An old word that a peer has nothing means nothing.
func TestOldHintsMeanAFullBase(t *testing.T) {
	var id ids
	a := New(Minute(60, 60), One/2, 0)
	drain(a, 0)
	a.more = &more{}
	a.more.asking.probing, a.more.asking.probe = backMost, Forever
	a.Hint(peerB, State{Tok: 0, Part: 0}, ms)
	a.seen = 0
	if out := a.Ask(1, peersOf(peerB), id.next, 0, 2*ms); out != nil {
		t.Errorf("a peer without anything is asked: %+v", out)
	}
	a.tok, a.at, a.part = 0, ms+TTL+1, 0
	if out := a.Ask(1, peersOf(peerB), id.next, 0, ms+TTL+1); len(out) != 1 {
		t.Errorf("asks %+v after %d s", out, TTL/sec)
	}
}

// A node that needs more than its part asks when its cap is not full, not when it is
// nearly empty.
func TestAsksAheadBelowNineTenths(t *testing.T) {
	a := New(Minute(6000, 6000), One/3, 0)
	var id ids
	now := int64(0)
	for a.Left() > 1700 {
		now += 10 * ms // 100 a second, of 33 that refill
		a.Advance(now)
		a.Spend(1)
		a.Count(1, now)
		if a.Low(now) != (a.tok <= a.cap-a.cap/10) {
			t.Fatalf("with %d of %d units: low is %v", a.Left(), a.cap/unit, a.Low(now))
		}
	}
	if out := a.AskAhead(peersOf(2, 3), id.next, now); len(out) != 2 || out[0].Fetch.Need != 0 {
		t.Errorf("asks %+v", out)
	}
	if a.Low(now) {
		t.Error("asks again while there is no answer")
	}
}

// The home of a tiny bucket charges each request, all or nothing.
func TestTinyBucketsAreChargedAtHome(t *testing.T) {
	p := Minute(6, 3)
	home, away := New(p, One, 0), New(p, 0, 0)
	home.SetHome(true)
	ps := &Peers{Up: []Peer{peerB}, Tiny: true, Home: peerB}
	var id ids
	now, passed := int64(0), 0
	for range 5 {
		now += ms
		out := away.Ask(1, ps, id.next, 0, now)
		if out == nil {
			continue
		}
		r, _ := home.OnFetch(peerA, &out[0].Fetch, now)
		if away.OnReply(peerB, &r, now); away.Has(1) {
			away.Spend(1)
			passed++
		}
	}
	if passed != 3 || home.Has(1) {
		t.Errorf("%d of 3 pass; the home has %d", passed, home.Left())
	}
	if out := away.Ask(1, ps, id.next, 0, now); out != nil {
		t.Error("asks right after a refusal")
	}
	if out := away.Ask(3, ps, id.next, 0, now+sec); len(out) != 1 || out[0].Fetch.Need != 3*unit {
		t.Errorf("asks %+v for three units", out)
	} else if r, _ := home.OnFetch(peerA, &out[0].Fetch, now+sec); r.Tokens != 0 || r.Wait < 28*sec || r.Wait > 31*sec {
		t.Errorf("three of 0.1: %+v", r)
	}
	if out := home.Ask(1, &Peers{Up: []Peer{peerA}, Tiny: true, Here: true, Home: peerB}, id.next, 0, now); out != nil {
		t.Errorf("the home asks %+v", out)
	}
}

// Hammering a spent limit costs a number of messages that does not grow with the rate.
func TestHammeringCostsFewMessages(t *testing.T) {
	for _, limit := range []int64{2, 60, 6000} {
		for _, every := range []int64{ms, ms / 20} {
			w := newWorld(3, Minute(limit, limit), seeded(1), sound)
			for end := w.now + 20*sec; w.now < end; w.pass(every) {
				w.request(0, 1)
				for len(w.mail) > 0 {
					w.deliver(0, false)
				}
				if w.now%(200*ms) < every {
					w.tick(0)
				}
			}
			if per := w.sent / 20 / 2; per > 2*20+5 {
				t.Errorf("limit %d, every %d µs: %d exchanges a second", limit, every/1000, per)
			}
			if least := int(limit / 3 * 98 / 100); w.admitted < least {
				t.Errorf("limit %d: %d admitted", limit, w.admitted)
			}
			if err := w.check(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Once nothing fails any more, the whole bucket is there again within a TTL.
func TestTheWholeComesBack(t *testing.T) {
	for seed := range uint64(100) {
		w, err := play(seeded(seed), sound, 1500)
		if err != nil {
			t.Fatal(err)
		}
		w.mail = nil
		for i := range w.nodes {
			w.restart(i)
			w.apply(i)
		}
		w.pass(2 * TTL)
		w.settle()
		for i := range w.nodes {
			w.apply(i)
		}
		w.pass(TTL + grain)
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
		sum := Part(0)
		for _, n := range w.nodes {
			sum += n.b.part.wide()
		}
		if sum != One {
			t.Fatalf("seed %d: the parts add up to %.4f", seed, float64(sum)/float64(One))
		}
	}
}

// While one peer takes long to answer, others are asked; its answer is taken, and worth
// waiting for until it is late.
func TestSlowAnswers(t *testing.T) {
	var id ids
	a, b := New(Minute(60, 60), One/3, 0), New(Minute(60, 60), One/3, 0)
	drain(a, 0)
	ps := peersOf(2, 3)
	first := a.Ask(3, ps, id.next, 0, ms)
	if len(first) != 1 || a.Ask(3, ps, id.next, 0, 2*ms) != nil || a.Slowly() {
		t.Fatalf("asks %+v, then more before there is an answer", first)
	}
	a.Slow(first[0].Fetch.ID, first[0].To)
	if a.Asking() || !a.Slowly() {
		t.Error("requests wait for the slow one alone, or not at all")
	}
	second := a.Ask(3, ps, id.next, 0, 13*ms)
	if len(second) != 1 || second[0].To == first[0].To {
		t.Fatalf("asks %+v after %+v", second, first)
	}
	if a.Slow(second[0].Fetch.ID, second[0].To); a.Ask(3, ps, id.next, 0, 26*ms) != nil {
		t.Error("asks a peer again that has not answered yet")
	}
	r, _ := b.OnFetch(peerA, &first[0].Fetch, 30*ms)
	if a.OnReply(first[0].To, &r, 40*ms); !a.Has(3) {
		t.Error("a slow answer is not taken")
	}
	if a.Late(second[0].Fetch.ID, second[0].To, 263*ms); a.Slowly() || a.Asking() {
		t.Error("a late answer is waited for")
	}
	if a.Lost(second[0].Fetch.ID, second[0].To, 2*sec); len(a.more.asking.open) != 0 || a.more.asking.waiting != 0 {
		t.Errorf("left over: %+v", a.more.asking)
	}
}

// A tiny bucket that refills fast is charged as fast.
func TestChargesKeepUpWithTheRate(t *testing.T) {
	p := Minute(6000, 10)
	home, away := New(p, One, 0), New(p, 0, 0)
	home.SetHome(true)
	ps := &Peers{Up: []Peer{peerB}, Tiny: true, Home: peerB}
	var id ids
	passed := 0
	for now := 12 * ms; now < 10*sec; now += 12 * ms { // 83 a second, of 100
		away.Advance(now)
		if out := away.Ask(1, ps, id.next, 0, now); out != nil {
			r, _ := home.OnFetch(peerA, &out[0].Fetch, now+ms)
			away.OnReply(peerB, &r, now+2*ms)
		}
		if away.Has(1) {
			away.Spend(1)
			passed++
		}
	}
	if passed != 833 {
		t.Errorf("%d of 833 pass", passed)
	}
}
