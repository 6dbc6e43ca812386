package lease

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The holders that a write waits for, for how long, and the events that clear them.
func TestWrite(t *testing.T) {
	tb := led()
	at := func(n int64) int64 { return 200*sec + n*ms }
	grant(t, tb, Node{"n4", 1}, 10, false, at(-6000)) // over
	grant(t, tb, Node{"n1", 1}, 11, false, at(0))
	grant(t, tb, Node{"n2", 1}, 10, false, at(0))
	grant(t, tb, Node{"n3", 1}, 10, false, at(100))
	pending := renew(t, tb, Node{"n5", 1}, 10, false, at(200))

	w := tb.Write(1, 11, true, at(300))
	if next := polls(t, w, at(300), Waiting); next != at(0)+ended {
		t.Errorf("polls again at %d", next-at(0))
	}
	tb.Report(Node{"n4", 1}, 11, at(300))
	tb.Report(Node{"n2", 1}, 10, at(300))
	if signalled(w) {
		t.Error("told of what changes nothing")
	}
	how(t, w, false, Ack{"n1", Applied})
	tb.Report(Node{"n2", 1}, 11, at(301))
	tb.Drop(pending)
	if !signalled(w) {
		t.Error("not told of a dropped renewal")
	}
	if next := polls(t, w, at(302), Waiting); next != at(100)+ended {
		t.Errorf("polls again at %d", next-at(0))
	}
	// A later lease of n3 needs the write, and extends no wait for it.
	if tk := renew(t, tb, Node{"n3", 1}, 10, false, at(400)); tb.Grant(tk, 1, at(400)) {
		t.Error("granted without the write")
	}
	polls(t, w, at(100)+ended-1, Waiting)
	polls(t, w, at(100)+ended, Done)
	how(t, w, true, Ack{"n1", Applied}, Ack{"n2", Applied}, Ack{"n3", LeaseEnded}, Ack{"n5", LeaseEnded})
	if tb.Outstanding() != 0 || tb.nodes[2].queue.head != nil {
		t.Error("something is left of a wait that is over")
	}

	// All have applied it: over at once, and repeats too.
	for _, n := range []string{"n1", "n2", "n3"} {
		tb.Report(Node{n, 1}, 12, at(6000))
	}
	for _, index := range []uint64{12, 11} {
		w = tb.Write(1, index, true, at(6000))
		<-w.Changed()
		polls(t, w, at(6000), Done)
	}
	if tb.r.now != 12 {
		t.Error("a repeat took R back")
	}
}

// Right after an election: leases of earlier terms are not in the table.
func TestNewLeader(t *testing.T) {
	tb := led()
	takes, gives := tb.Write(1, 11, true, 101*sec), tb.Write(1, 11, false, 101*sec)
	polls(t, gives, 101*sec, Done)
	if next := polls(t, takes, 101*sec, Waiting); next != 100*sec+ended {
		t.Errorf("polls again at %d", next)
	}
	polls(t, takes, 100*sec+ended, Done)
	how(t, takes, true)
}

// A report clears the writes that it covers, at one node and in any order of writes.
func TestReportsClearByIndex(t *testing.T) {
	tb := led()
	n1, n2 := Node{"n1", 1}, Node{"n2", 1}
	grant(t, tb, n1, 10, false, 200*sec)
	grant(t, tb, n2, 10, false, 200*sec)
	order := []uint64{15, 12, 14, 11, 13, 12}
	var ws []*Wait
	for _, index := range order {
		ws = append(ws, tb.Write(1, index, true, 200*sec))
	}
	ws[3].Cancel()
	ws[3].Cancel()
	for rep := uint64(10); rep <= 15; rep++ {
		tb.Report(n1, 15, 200*sec)
		tb.Report(n2, rep, 200*sec)
		for i, index := range order {
			want := Waiting
			switch {
			case i == 3:
				want = Lost
			case index <= rep:
				want = Done
			}
			if told := signalled(ws[i]); told && want == Waiting || !told && want == Done && index == rep {
				t.Errorf("rep %d, index %d: told %v", rep, index, told)
			}
			polls(t, ws[i], 200*sec, want)
		}
	}
	if tb.Outstanding() != 0 {
		t.Error("waits are left")
	}
}

// writeAt checks the outcome of a write at index 12 that finishes at once.
func writeAt(t *testing.T, tb *Table, now int64, effective bool, want ...Ack) {
	t.Helper()
	w := tb.Write(tb.term, 12, true, now)
	polls(t, w, now, Done)
	how(t, w, effective, want...)
}

// A node that serves without a lease is unconfirmed until it has reported.
func TestUnconfirmed(t *testing.T) {
	tb := led()
	n := Node{"n", 4}
	grant(t, tb, n, 10, true, 200*sec)
	w := tb.Write(1, 11, true, 201*sec)
	end := polls(t, w, 201*sec, Waiting)
	polls(t, w, end, Done)
	how(t, w, false, Ack{"n", Unconfirmed})

	writeAt(t, tb, 300*sec, false, Ack{"n", Unconfirmed}) // long after its lease
	if h := tb.Status(300 * sec)[0]; !h.Stale || h.Until != 0 {
		t.Errorf("%+v", h)
	}

	// While a write waits for another node, it may still confirm.
	other := Node{"o", 1}
	grant(t, tb, other, 12, false, 300*sec)
	w = tb.Write(1, 13, true, 300*sec)
	polls(t, w, 300*sec, Waiting)
	tb.Report(n, 13, 301*sec)
	tb.Report(other, 13, 301*sec)
	polls(t, w, 301*sec, Done)
	how(t, w, true, Ack{"n", Applied}, Ack{"o", Applied})
	writeAt(t, tb, 301*sec, true, Ack{"n", Applied}, Ack{"o", Applied})

	// Another term of this server does not forget it.
	tb.Begin(2, 400*sec, 12)
	writeAt(t, tb, 500*sec, false, Ack{"n", Unconfirmed})
	tb.Report(n, 12, 500*sec)
	writeAt(t, tb, 500*sec, true, Ack{"n", Applied})
}

// A later start of a node that serves without a lease in this term is another
// process.
func TestUnconfirmedThenStarted(t *testing.T) {
	tb := led()
	grant(t, tb, Node{"n", 4}, 10, true, 200*sec)
	tb.Report(Node{"n", 5}, 3, 300*sec)
	writeAt(t, tb, 300*sec, true)
}

// A suspect node stays one over its starts, for it is not known which process was
// meant.
func TestSuspect(t *testing.T) {
	tb := NewTable(Default)
	tb.Suspect("n")
	tb.Begin(1, 100*sec, 10)
	tb.Report(Node{"n", 5}, 3, 300*sec)
	tb.Report(Node{"n", 6}, 3, 300*sec)
	writeAt(t, tb, 300*sec, false, Ack{"n", Unconfirmed})
	tb.Forget("n")
	writeAt(t, tb, 300*sec, true)
}

// The first message of a suspect node does not clear a wait in progress either.
func TestSuspectDuringWait(t *testing.T) {
	tb := NewTable(Default)
	tb.Suspect("n")
	tb.Begin(1, 100*sec, 10)
	ws := []*Wait{tb.Write(1, 11, true, 101*sec), tb.Write(1, 12, true, 101*sec)}
	tb.Report(Node{"n", 5}, 3, 102*sec)
	tb.Report(Node{"n", 6}, 11, 102*sec)
	for i, how := range []string{Applied, Unconfirmed} {
		polls(t, ws[i], 106*sec, Done)
		if got := ws[i].Nodes(); len(got) != 1 || got[0].How != how {
			t.Errorf("write %d: %v", i, got)
		}
	}
}

// A removed node keeps its lease until it ends.
func TestForgetDropsNoLease(t *testing.T) {
	tb := led()
	grant(t, tb, a, 10, true, 200*sec)
	tb.Forget("a")
	tb.Forget("nobody")
	w := tb.Write(1, 11, true, 201*sec)
	if next := polls(t, w, 201*sec, Waiting); next != 200*sec+ended {
		t.Errorf("a removed node is waited for until %d", next)
	}
	polls(t, w, 200*sec+ended, Done)
	how(t, w, true, Ack{"a", LeaseEnded})
}

// Nodes beyond the bound get a place only if no write waits for the node that is forgotten.
func TestRoom(t *testing.T) {
	tb := led()
	name := func(i int) Node { return Node{fmt.Sprintf("n%03d", i), 1} }
	for i := range MaxNodes {
		grant(t, tb, name(i), 10, i == 0, 200*sec+int64(i))
	}
	if _, err := tb.Renew(name(900), 10, false, 201*sec); !errors.Is(err, ErrFull) {
		t.Fatalf("one node too many: %v", err)
	}
	tb.Report(name(1), 10, 300*sec)
	grant(t, tb, name(900), 10, false, 300*sec)
	gone := true
	for _, h := range tb.Status(300 * sec) {
		gone = gone && h.ID != "n002"
	}
	if !gone || len(tb.nodes) != MaxNodes {
		t.Error("not the longest silent one made room")
	}
}

// A node's own lease counts from the request, and ends when the clock stood still.
func TestLease(t *testing.T) {
	var l Lease
	if l.Valid(0, 0) || l.Left(0) != 0 {
		t.Error("the zero lease is valid")
	}
	const d = 5 * time.Second
	l.Granted(10*sec, 0, d)
	l.Granted(9*sec, 7*sec, d) // late, out of order: nothing
	for _, s := range []struct {
		now, wall int64
		valid     bool
	}{
		{14 * sec, 0, true},
		{15*sec - 1, 0, true},
		{15 * sec, 0, false},
		{14 * sec, sec, true},
		{14 * sec, sec + 1, false}, // suspended
		{14 * sec, -9 * sec, true}, // set back: it proves nothing
	} {
		if l.Valid(s.now, s.wall) != s.valid {
			t.Errorf("%+v", s)
		}
	}
	if l.Left(14*sec) != time.Second || l.Left(20*sec) != 0 {
		t.Error("what is left")
	}
	l.Granted(11*sec, 8*sec, d) // asked for after the jump
	if !l.Valid(15*sec, 8*sec) {
		t.Error("a lease that was asked for after a jump is not valid")
	}
	l.End()
	if l.Valid(12*sec, 8*sec) {
		t.Error("valid after End")
	}
	l.Granted(12*sec, 8*sec, d) // asked for before
	if l.Valid(12*sec, 8*sec) || l.Left(12*sec) != 0 {
		t.Error("an answer that came after End began a lease")
	}
}

func BenchmarkValid(b *testing.B) {
	var l Lease
	l.Granted(sec, 0, time.Second)
	for b.Loop() {
		l.Valid(sec, 0)
	}
}

// BenchmarkWrite is a write that waits, with 1,000 others under way, and its share
// of five nodes' reports.
func BenchmarkWrite(b *testing.B) {
	tb := led()
	for i := range 5 {
		tk, _ := tb.Renew(Node{fmt.Sprint(i), 1}, 10, false, 200*sec)
		tb.Grant(tk, 1, 200*sec)
	}
	b.ReportAllocs()
	index := uint64(10)
	for b.Loop() {
		index++
		tb.Write(1, index, true, 200*sec)
		for i := range 5 {
			tb.Report(Node{fmt.Sprint(i), 1}, index-min(index, 1000), 200*sec)
		}
		if index%1000 == 0 { // the callers, each of which polls its own waits
			for w := tb.waits; w != nil; {
				next := w.next
				w.Poll(200 * sec)
				w = next
			}
		}
	}
}

// Many callers at once, for the race detector: a lease is there or not, and no
// wait that a report covers is left.
func TestConcurrent(t *testing.T) {
	tb := led()
	var now, index atomic.Int64
	now.Store(200 * sec)
	index.Store(10)
	var wg sync.WaitGroup
	for i := range 4 {
		n := Node{fmt.Sprint(i), 1}
		wg.Go(func() {
			for range 300 {
				rep := uint64(index.Load())
				tk, err := tb.Renew(n, rep, false, now.Add(ms/100))
				if err != nil {
					continue
				}
				tb.Report(n, tk.Need, now.Load())
				<-tb.Ready(tk)
				if !tb.Grant(tk, 1, now.Load()) {
					tb.Drop(tk)
				}
			}
		})
		wg.Go(func() {
			for range 300 {
				w := tb.Write(1, uint64(index.Add(1)), true, now.Load())
				for i := range 4 {
					tb.Report(Node{fmt.Sprint(i), 1}, w.index, now.Load())
				}
				<-w.Changed()
				if state, _ := w.Poll(now.Load()); state != Done {
					t.Errorf("index %d: %v", w.index, state)
				}
				w.Nodes()
				tb.Status(now.Load())
			}
		})
	}
	wg.Wait()
	if tb.Outstanding() != 0 {
		t.Error("waits are left")
	}
}

// A new leader knows nothing of the leases of the last one. Nodes that it hears of
// in its first seconds may hold one: a write that gives a right must be seen there
// too.
func TestWriteRightAfterAnElection(t *testing.T) {
	tb := NewTable(Default)
	at := func(n int64) int64 { return 100*sec + n*ms }
	tb.Begin(7, at(0), 10)
	tb.Report(Node{"n1", 3}, 10, at(10))
	w := tb.Write(7, 11, false, at(20)) // n2 is not in contact
	polls(t, w, at(30), Waiting)
	tb.Report(Node{"n1", 3}, 11, at(40))
	polls(t, w, at(41), Done)
	how(t, w, true, Ack{"n1", Applied})

	// A later process of the node has no lease of anybody's.
	w = tb.Write(7, 12, false, at(50))
	polls(t, w, at(60), Waiting)
	tb.Report(Node{"n1", 4}, 10, at(70))
	polls(t, w, at(71), Done)
	w = tb.Write(7, 13, false, at(80))
	polls(t, w, at(80), Done)

	// No lease of the last leader's lasts beyond this.
	tb.Report(Node{"n2", 1}, 10, at(90))
	w = tb.Write(7, 14, false, at(100))
	polls(t, w, at(0)+ended-1, Waiting)
	polls(t, w, at(0)+ended, Done)
	w = tb.Write(7, 15, false, at(0)+ended)
	polls(t, w, at(0)+ended, Done)
}
