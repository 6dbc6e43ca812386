package limiter

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// life is one bucket's world over many processes: the ledger survives each of
// them and, after a clean stop, the export does.
type life struct {
	m      *Meter
	ledger ledger
	since  int64
	first  bool // the account and its keys were created in this process

	backup  ledger
	counted int64 // wall time of the last restore
}

func (w *life) refilled(now int64) int64 { return now - w.since }

// crash begins a process that knows of nothing but the ledger.
func (w *life) crash(now int64) {
	*w = life{m: NewMeter(), ledger: w.ledger, since: now, backup: w.backup, counted: w.counted}
}

// restore begins a process with a ledger that has nothing later than backup.
func (w *life) restore(now, wall int64) {
	w.crash(now)
	w.ledger, w.counted = maps.Clone(w.backup), wall
}

// stop ends a process cleanly at then; the next one begins at now. Where the
// clocks cannot be compared, known is false.
func (w *life) stop(t *rapid.T, then, now int64, known bool) {
	for _, u := range w.m.Surrender(nil) {
		w.ledger[grantOf{u.Policy, u.Month}] -= u.Units
	}
	export := w.m.Export(then, nil)
	gap := int64(0)
	if known {
		gap = now - then
	}
	since := w.since
	if since != -1<<62 {
		since = now - gap - (then - w.since)
	}
	*w = life{m: NewMeter(), ledger: w.ledger, since: since, backup: w.backup, counted: w.counted}
	if len(export) > 0 {
		if err := w.m.Import(export, now, gap); err != nil {
			t.Fatal(err)
		}
	}
}

// No sequence of crashes, clean stops, restores and prunings admits more than the promise
// over any stretch of time, in the account's bucket and in the key's own.
func TestBoundOverLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account, own := genRate().Draw(t, "account"), genRate().Draw(t, "own")
		account.PerMonth = rapid.SampledFrom([]int64{0, 40, 1e6}).Draw(t, "month")
		now, ahead := bootTime, wallTime-bootTime
		if rapid.Bool().Draw(t, "month's end") {
			_, end := slowMonth(wallTime)
			ahead = end - rapid.Int64Range(0, 60e9).Draw(t, "before it") - bootTime
		}
		w := &life{m: NewMeter(), ledger: ledger{}, since: now, first: true, backup: ledger{}}
		if rapid.Bool().Draw(t, "clean") {
			w.since = -1 << 62
		}
		var all, key history
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			then := now
			now += genPause().Draw(t, "pause")
			switch rapid.IntRange(0, 13).Draw(t, "what") {
			case 3:
				w.restore(now, now+ahead)
			case 4:
				w.backup = maps.Clone(w.ledger)
			case 0:
				w.crash(now)
			case 1:
				w.stop(t, then, now, rapid.Bool().Draw(t, "known"))
			case 2:
				for _, u := range w.m.Prune(now, w.refilled(now), nil) {
					w.ledger[grantOf{u.Policy, u.Month}] -= u.Units
				}
			default:
				a := &Ask{Now: now, Wall: now + ahead, Units: rapid.Int64Range(1, 12).Draw(t, "units"), Account: account,
					AccountFresh: w.first, KeyFresh: w.first, Refilled: w.refilled(now), Key: "key_b", CountedFrom: w.counted}
				if rapid.Bool().Draw(t, "own") {
					a.Key, a.Own = "key_a", own
				}
				if w.ledger.take(t, w.m, a).Allowed {
					all = append(all, event{now, a.Units, account})
					if a.Own.PerMinute > 0 {
						key = append(key, event{now, a.Units, own})
					}
				}
			}
		}
		all.check(t)
		key.check(t)
	})
}

// The next process goes on from the export of a clean stop: with the time between
// known, it decides as if there had been no stop.
func TestCleanStopLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := genRate().Draw(t, "limit")
		l.PerMonth = 1e6
		a := &Ask{Now: bootTime, Wall: wallTime, Account: l, Own: l, Key: "key_a", Refilled: Forever}
		one := &life{m: NewMeter(), ledger: ledger{}, since: -1 << 62}
		two := &life{m: NewMeter(), ledger: ledger{}, since: -1 << 62}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			pause := genPause().Draw(t, "pause")
			if rapid.IntRange(0, 3).Draw(t, "stop") == 0 {
				two.stop(t, a.Now+pause/3, a.Now+pause, true)
			}
			a.Now, a.Wall = a.Now+pause, a.Wall+pause
			a.Units = rapid.Int64Range(1, 12).Draw(t, "units")
			want, got := one.ledger.take(t, one.m, a), two.ledger.take(t, two.m, a)
			want.NWants, want.Wants, got.NWants, got.Wants = 0, [3]Want{}, 0, [3]Want{}
			if got != want {
				t.Fatalf("stopped %+v\nran on %+v", got, want)
			}
		}
	})
}

// letter is a want on its way to the log and back to its meter.
type letter struct {
	m *Meter
	w Want
	n int64 // granted
	// total as the log had it then
	total   int64
	applied bool
}

// fleet is several nodes that share one limit of the month and may be killed.
type fleet struct {
	limit          int64
	book           ledger
	meters         [3]*Meter
	mail           []letter
	admitted, lost map[int]int64 // by month
	month          int           // now
}

func newFleet(limit int64, month int) *fleet {
	f := &fleet{limit: limit, book: ledger{}, admitted: map[int]int64{}, lost: map[int]int64{}, month: month}
	for i := range f.meters {
		f.meters[i] = NewMeter()
	}
	return f
}

// kill loses the chunk that node i holds.
func (f *fleet) kill(i int) {
	if q := &f.meters[i].month; q.month == f.month {
		f.lost[f.month] += q.chunk
	}
	f.meters[i] = NewMeter()
}

// stop gives back the chunk that node i holds.
func (f *fleet) stop(i int) {
	for _, u := range f.meters[i].Surrender(nil) {
		f.book[grantOf{u.Policy, u.Month}] -= u.Units
	}
	f.meters[i] = NewMeter()
}

// apply grants l in the log, once.
func (f *fleet) apply(l *letter) {
	if b := (grantOf{l.w.Policy, l.w.Month}); !l.applied {
		l.n = max(min(max(l.w.Units, l.w.Need), f.limit-f.book[b]), 0)
		f.book[b] += l.n
		l.total, l.applied = f.book[b], true
	}
}

// deliver hands the grant of l to its meter, if that is still there.
func (f *fleet) deliver(l letter) {
	if l.w.Seed {
		l.m.Seed("", l.w.Policy, l.w.Month, f.book[grantOf{l.w.Policy, l.w.Month}])
	}
	for i := range f.meters {
		if f.meters[i] == l.m && l.m.month.month == l.w.Month && l.n > 0 {
			l.m.Credit("", l.w.Policy, l.w.Month, l.n, l.total)
			return
		} else if f.meters[i] == l.m && l.w.Units > 0 && l.n == 0 {
			l.m.Refused("", l.w.Policy, l.w.Month, l.total)
		}
	}
	f.lost[l.w.Month] += l.n // its node is dead, or in another month
}

// take asks node i.
func (f *fleet) take(i int, a *Ask) {
	d := f.meters[i].Take(a)
	for _, w := range d.Wants[:d.NWants] {
		f.mail = append(f.mail, letter{m: f.meters[i], w: w})
	}
	if d.Allowed {
		f.admitted[f.month] += a.Units
	}
}

// step does one thing at random.
func (f *fleet) step(t *rapid.T, a *Ask) {
	i := rapid.IntRange(0, len(f.meters)-1).Draw(t, "node")
	switch rapid.IntRange(0, 19).Draw(t, "step") {
	case 0:
		f.kill(i)
	case 1:
		f.stop(i)
	case 2:
		if len(f.mail) > 0 { // applied, not yet delivered: a kill may come between
			f.apply(&f.mail[rapid.IntRange(0, len(f.mail)-1).Draw(t, "letter")])
		}
	case 3:
		if rapid.IntRange(0, 9).Draw(t, "turn") == 0 {
			_, end := slowMonth(a.Wall)
			a.Now, a.Wall = a.Now+end-a.Wall, end
			f.month, _ = slowMonth(a.Wall)
		}
	case 4, 5, 6, 7, 8, 9:
		if len(f.mail) > 0 {
			f.apply(&f.mail[0])
			f.deliver(f.mail[0])
			f.mail = f.mail[1:]
		}
	default:
		a.Now += rapid.Int64Range(0, 3e9).Draw(t, "pause")
		a.Units = rapid.SampledFrom([]int64{1, 1, 1, 4}).Draw(t, "units")
		f.take(i, a)
	}
}

// Months over several nodes that are killed before and after each grant: never
// above the limit, and below it by the rests of their chunks, to the unit.
func TestMonthsOverKills(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int64{1, 7, 100, 5000}).Draw(t, "limit")
		a := &Ask{Now: bootTime, Wall: wallTime, Account: Limit{PerMonth: limit}}
		month, _ := slowMonth(a.Wall)
		f := newFleet(limit, month)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			f.step(t, a)
			for mo, n := range f.admitted {
				if n > limit {
					t.Fatalf("%d admitted in month %d, the limit is %d", n, mo, limit)
				}
			}
		}
		for _, l := range f.mail {
			f.apply(&l)
			f.deliver(l)
		}
		for i := range f.meters {
			f.stop(i)
		}
		// The last node gets everything that is left, and no more.
		m := NewMeter()
		a.Units = 1
		for f.book.take(t, m, a).Allowed {
			f.admitted[f.month]++
		}
		if f.admitted[f.month] != limit-f.lost[f.month] {
			t.Fatalf("%d admitted, %d lost in kills, of %d", f.admitted[f.month], f.lost[f.month], limit)
		}
	})
}

// After a restore the month knows less than was spent, and bounds a bucket only
// when that has refilled.
func TestMonthThatForgot(t *testing.T) {
	l := Limit{PerMinute: 60, PerMonth: 1e6}
	for _, c := range []struct {
		counted int64 // how long ago the state was restored; -1: never
		allowed bool
	}{{-1, true}, {0, false}, {59e9, false}, {60e9, true}} {
		a := &Ask{Now: bootTime, Wall: wallTime, Units: 1, Account: l}
		if c.counted >= 0 {
			a.CountedFrom = wallTime - c.counted
		}
		m := NewMeter()
		m.Take(a)
		m.Seed("", MonthQuota, monthOf(wallTime), 0)
		m.Credit("", MonthQuota, monthOf(wallTime), 10, 10)
		if d := m.Take(a); d.Pending || d.Allowed != c.allowed {
			t.Errorf("restored %v ns ago: %+v", c.counted, d)
		}
	}
}

func monthOf(wall int64) int { c := calendarAt(wall); return c.month }
