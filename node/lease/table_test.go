package lease

import (
	"errors"
	"slices"
	"testing"
	"time"
)

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// ended is D(1+ε) of [Default].
const ended = 5250 * ms

// led is a table that leads in term 1 since second 100, with R = 10, and a node
// that waits for no one: the election's own wait is over at 105.25.
func led() *Table {
	t := NewTable(Default)
	t.Begin(1, 100*sec, 10)
	return t
}

var a = Node{"a", 1}

func grant(t *testing.T, tb *Table, n Node, rep uint64, stale bool, now int64) {
	t.Helper()
	tk := renew(t, tb, n, rep, stale, now)
	if !tb.Grant(tk, tb.term, now) {
		t.Fatalf("no lease for %v at %d", n, now)
	}
}

func renew(t *testing.T, tb *Table, n Node, rep uint64, stale bool, now int64) Ticket {
	t.Helper()
	tk, err := tb.Renew(n, rep, stale, now)
	if err != nil {
		t.Fatalf("renew %v at %d: %v", n, now, err)
	}
	return tk
}

func polls(t *testing.T, w *Wait, now int64, want State) int64 {
	t.Helper()
	got, next := w.Poll(now)
	if got != want {
		t.Fatalf("at %d the wait is %v, want %v", now, got, want)
	}
	if got == Waiting && next <= now {
		t.Fatalf("at %d the wait says to poll again at %d", now, next)
	}
	return next
}

func signalled(w *Wait) bool {
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}

func how(t *testing.T, w *Wait, effective bool, want ...Ack) {
	t.Helper()
	if got := w.Nodes(); !slices.Equal(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
	if w.Effective() != effective {
		t.Errorf("effective %v, want %v", !effective, effective)
	}
}

// State belongs to one term: the next one starts without it, and calls of earlier
// ones are ignored.
func TestTerms(t *testing.T) {
	tb := NewTable(Default)
	if _, err := tb.Renew(a, 10, false, 100*sec); !errors.Is(err, ErrNotLeading) {
		t.Fatalf("renewed before Begin: %v", err)
	}
	if w := tb.Write(1, 11, true, 100*sec); w.state != Lost || !signalled(w) {
		t.Fatal("a write before Begin waits")
	}
	tb.Begin(1, 100*sec, 10)
	grant(t, tb, a, 10, false, 101*sec)
	tk := renew(t, tb, a, 10, false, 102*sec)
	w := tb.Write(1, 11, true, 102*sec)
	tb.Begin(1, 103*sec, 12) // raises R only
	if tb.electedAt != 100*sec || tb.r.now != 12 || len(tb.nodes) != 1 {
		t.Fatal("a second Begin of the same term did more than to raise R")
	}
	tb.Begin(3, 110*sec, 10) // the same server again
	if polls(t, w, 110*sec, Lost); !signalled(w) || w.Effective() {
		t.Error("a wait of an earlier term was not told")
	}
	if tb.Grant(tk, 3, 110*sec) || tb.Grant(tk, 1, 110*sec) {
		t.Error("granted a renewal of an earlier term")
	}
	if tb.electedAt != 110*sec || tb.r.now != 10 || len(tb.Status(110*sec)) != 0 {
		t.Error("the state of an earlier term is still there")
	}
	tb.Begin(2, 111*sec, 10) // late
	if tb.term != 3 || !tb.leading {
		t.Error("a late Begin took over")
	}
	tk = renew(t, tb, a, 10, false, 111*sec)
	w = tb.Write(3, 13, false, 111*sec)
	tb.End()
	polls(t, w, 200*sec, Lost)
	if tb.Grant(tk, 3, 111*sec) || tb.Outstanding() != 0 {
		t.Error("not over after End")
	}
}

// A report of a later boot ends the leases of earlier ones.
// A required index is what later leases need; a server that does not lead requires nothing,
// and does not begin to lead by it.
func TestRequire(t *testing.T) {
	tb := led()
	if !tb.Require(1, 20, 200*sec) {
		t.Fatal("the leader requires nothing")
	}
	if tk := renew(t, tb, a, 15, false, 200*sec); tk.Need != 20 || tb.Grant(tk, 1, 200*sec) {
		t.Errorf("a lease needs %d", tk.Need)
	}
	if tb.Require(2, 30, 201*sec) {
		t.Error("requires something in a term in which it does not lead")
	}
	tb.End()
	if tb.Require(1, 30, 202*sec) {
		t.Error("requires something after its term")
	}
	if _, err := tb.Renew(a, 99, false, 203*sec); !errors.Is(err, ErrNotLeading) {
		t.Errorf("leads again: %v", err)
	}
}

func TestBoots(t *testing.T) {
	tb := led()
	grant(t, tb, Node{"a", 2}, 20, false, 110*sec)
	tk := renew(t, tb, Node{"a", 2}, 20, false, 110*sec)
	w := tb.Write(1, 21, true, 110*sec)
	if _, err := tb.Renew(a, 30, false, 110*sec); !errors.Is(err, ErrOldBoot) {
		t.Errorf("a dead process renewed: %v", err)
	}
	tb.Report(a, 30, 110*sec)
	polls(t, w, 110*sec, Waiting)
	tb.Report(Node{"a", 3}, 15, 111*sec)
	if !signalled(w) {
		t.Error("a later start wakes nobody")
	}
	polls(t, w, 111*sec, Done)
	how(t, w, true, Ack{"a", LeaseEnded})
	if tb.Grant(tk, 1, 110*sec) {
		t.Error("granted to a dead process")
	}
	if got := tb.Status(111 * sec)[0]; got != (Holding{Node: Node{"a", 3}, Rep: 15, LastSeen: 111 * sec}) {
		t.Errorf("after a start: %+v", got)
	}
	tb.Report(Node{"a", 3}, 14, 111*sec)
	if tb.nodes[0].rep != 15 {
		t.Error("a late report took one back")
	}
}

// The join gate refuses nodes that lag.
func TestJoinGate(t *testing.T) {
	tb := led()
	for _, s := range []struct {
		at    int64
		write uint64
		rep   uint64
		gate  uint64 // 0: allowed
	}{
		{at: 0, rep: 9, gate: 10}, // R at the beginning of the term
		{at: 0, rep: 10},
		{at: 1000, write: 20},
		{at: 1000, rep: 10},
		{at: 1249, rep: 10},
		{at: 1250, rep: 19, gate: 20},
		{at: 1300, write: 30},
		{at: 1310, write: 31},
		{at: 1400, write: 40},
		{at: 1549, rep: 20},
		{at: 1700, rep: 39, gate: 40},
		{at: 9000, rep: 39, gate: 40},
		{at: 9000, rep: 40},
	} {
		now := 100*sec + s.at*ms
		if s.write > 0 {
			tb.Write(1, s.write, false, now)
			continue
		}
		n := Node{"a", uint64(s.at) + s.rep}
		tk, err := tb.Renew(n, s.rep, false, now)
		var behind Behind
		switch {
		case s.gate == 0 && err != nil:
			t.Errorf("%+v: %v", s, err)
		case s.gate != 0 && (!errors.Is(err, ErrBehind) || !errors.As(err, &behind) || behind.R != s.gate):
			t.Errorf("%+v: %v", s, err)
		}
		tb.Drop(tk)
	}
	// Under constant writes the gate never looks back by more than an eighth more.
	for i := int64(1); i < 4000; i++ {
		now := 200*sec + i*ms
		tb.Write(1, uint64(i)+1000, false, now)
		if got := int64(tb.r.before(now)) - 1000; i > 300 && (got > i-250 || got < i-250-33) {
			t.Fatalf("at %d the gate is %d", i, got)
		}
	}
}

// Steps 3 and 4.
func TestGrant(t *testing.T) {
	tb := led()
	at := func(n int64) int64 { return 110*sec + n*ms }
	tk := renew(t, tb, a, 10, false, at(0))
	if tk.Need != 10 {
		t.Errorf("R_x is %d", tk.Need)
	}
	w := tb.Write(1, 11, true, at(1))
	if polls(t, w, at(1), Waiting) != at(0)+ended {
		t.Error("a pending renewal does not count from x on")
	}
	if tb.Grant(tk, 2, at(2)) {
		t.Error("granted for another term")
	}
	if !tb.Grant(tk, 1, at(2)) || tb.Grant(tk, 1, at(2)) {
		t.Error("not granted once")
	}
	tb.Drop(tk) // of a ticket that was granted: nothing
	if h := tb.Status(at(2))[0]; h.Until != at(0)+ended || h.Pending {
		t.Errorf("%+v", h)
	}

	tk = renew(t, tb, a, 10, false, at(3)) // within the join lag, but R_x = 11
	select {
	case <-tb.Ready(tk):
		t.Error("ready without the report")
	default:
	}
	ready := tb.Ready(tk)
	if tk.Need != 11 || tb.Grant(tk, 1, at(4)) {
		t.Error("granted without R_x reported")
	}
	tb.Report(a, 11, at(5))
	<-ready
	<-tb.Ready(tk)
	if !tb.Grant(tk, 1, at(5)) {
		t.Error("not granted although R_x was reported")
	}

	tk = renew(t, tb, a, 11, false, at(10))
	if tb.Grant(tk, 1, at(1011)) {
		t.Error("granted after more than a second")
	}
	tb.Status(at(1011))
	if tb.Grant(tk, 1, at(20)) || len(tb.nodes[0].pending) != 0 {
		t.Error("a late renewal came back")
	}
	for range MaxPending {
		renew(t, tb, a, 11, false, at(2000))
	}
	if _, err := tb.Renew(a, 11, false, at(2000)); err != ErrBusy {
		t.Errorf("one renewal too many: %v", err)
	}
	renew(t, tb, a, 11, false, at(3001))
}

// drops are sequences of refused and granted renewals of one node.
var drops = []struct {
	name  string
	does  string // g, d: grant or drop the ticket named by the digit; w: the write
	until int64  // the wait's last end, relative to the first x + D(1+ε); x of ticket n is 100n
}{
	{"no refusal", "0 1 2 w", 200},
	{"newest dropped", "0 1 2 w d2", 100},
	{"middle dropped", "0 1 2 w d1", 200},
	{"both", "0 1 2 w d1 d2", 0},
	{"both, other way", "0 1 2 w d2 d1", 0},
	{"granted below", "0 1 2 w g0 d2 d1", 0},
	{"granted above", "0 1 2 w g2 d0 d1", 200},
	{"granted in the middle", "0 1 2 w g1 d2 d0", 100},
	{"dropped before", "0 1 d1 2 w d2", 0},
	{"below dropped first, then asked again", "0 d0 1 w", 100},
	{"later ones extend nothing", "0 w 1 2", 0},
	{"later ones dropped", "0 w 1 2 d2 d1", 0},
	{"all dropped", "0 1 w d0 d1", -1},
}

// A dropped record makes the wait fall back on the record below it, and never further.
func TestDrop(t *testing.T) {
	at := func(n int64) int64 { return 110*sec + n*ms }
	for _, s := range drops {
		tb := led()
		var tks [3]Ticket
		var w *Wait
		for i := 0; i < len(s.does); i++ {
			switch c := s.does[i]; c {
			case ' ':
			case 'w':
				w = tb.Write(1, 11, true, at(250))
			case 'g', 'd':
				i++
				tk := tks[s.does[i]-'0']
				if c == 'd' {
					tb.Drop(tk)
				} else if !tb.Grant(tk, 1, at(250)) {
					t.Fatalf("%s: not granted", s.name)
				}
			default:
				tk, err := tb.Renew(a, 10, false, at(100*int64(c-'0')))
				if err != nil {
					t.Fatal(err)
				}
				tks[c-'0'] = tk
			}
		}
		if s.until < 0 {
			if !signalled(w) {
				t.Errorf("%s: the wait was not woken", s.name)
			}
			polls(t, w, at(250), Done)
			continue
		}
		got := polls(t, w, at(250), Waiting)
		if got != at(s.until)+ended {
			t.Errorf("%s: waits until %d, want %d", s.name, got-at(0)-ended, s.until)
		}
		polls(t, w, got-1, Waiting)
		polls(t, w, got, Done)
		how(t, w, true, Ack{"a", LeaseEnded})
	}
}

// The end of a lease that was not renewed is known until the node has another one, or starts
// again.
func TestStatusOfAnEndedLease(t *testing.T) {
	tb := led()
	tb.Report(a, 10, 101*sec)
	if h := tb.Status(101 * sec)[0]; h.Ended != 0 || h.Until != 0 {
		t.Errorf("before the first lease: %+v", h)
	}
	grant(t, tb, a, 10, false, 102*sec)
	if h := tb.Status(102 * sec)[0]; h.Ended != 0 || h.Until != 102*sec+ended {
		t.Errorf("with a lease: %+v", h)
	}
	if h := tb.Status(120 * sec)[0]; h.Ended != 102*sec+ended || h.Until != 0 {
		t.Errorf("after it: %+v", h)
	}
	tb.Report(Node{"a", 2}, 10, 121*sec)
	if h := tb.Status(121 * sec)[0]; h.Ended != 0 {
		t.Errorf("another process: %+v", h)
	}
}
