package quota

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/store"
)

// marks is a node's own storage; err is the answer to the next writes.
type marks struct {
	m   map[string][]byte
	err error
}

func (s *marks) Mark(name string) ([]byte, error) { return bytes.Clone(s.m[name]), nil }

func (s *marks) SetMark(name string, value []byte, sync bool) error {
	if s.err == nil && sync {
		s.m[name] = bytes.Clone(value)
	}
	return s.err
}

// process is one life of a node, as far as levels go.
type process struct {
	*Levels
	*months
	since int64
}

// boot starts a process over s.
func boot(t *testing.T, s *marks, now int64) process {
	t.Helper()
	l := newMonths(0, 0)
	l.account("acct_b")
	p := process{months: l, Levels: &Levels{Marks: s, Ledger: l, Table: limiter.NewBuckets(64), Logger: slog.New(slog.DiscardHandler)}}
	var err error
	if p.since, err = p.Resume(now); err != nil {
		t.Fatal(err)
	}
	return p
}

// left is the level of account's bucket of 60 a minute after taking units.
func (p process) left(account store.AccountID, units, now int64) int64 {
	d := p.cells[account].Meters[store.Live].Take(&limiter.Ask{
		Now: now, Wall: now, Units: units, Account: limiter.Limit{PerMinute: 60}, Refilled: now - p.since,
	})
	return d.States[0].Remaining
}

const second = int64(1e9)

func TestLevelsOverACleanStop(t *testing.T) {
	if clock.BootID() == "" {
		t.Skip("times of two processes cannot be compared here")
	}
	s := &marks{m: map[string][]byte{LevelsMark: nil}}
	now := 1000 * second
	first := boot(t, s, now)
	now += 3600 * second // a crash before first is long forgotten
	first.left("default", 40, now)
	name, pace := limiter.NameOf("u"), limiter.Pace{Limit: 60, Window: 60 * second}
	first.Table.Take(name, pace, 30, now, limiter.Forever)
	if err := first.Save(now); err != nil {
		t.Fatal(err)
	}
	now += 10 * second
	next := boot(t, s, now)
	if n := next.left("default", 0, now); n != 30 {
		t.Errorf("20 were left, 10 s later %d", n)
	}
	if n := next.left("acct_b", 0, now); n != 60 {
		t.Errorf("a bucket that was whole begins with %d", n)
	}
	if v := next.Table.Peek(name, pace, 1, now, 0); v.Remaining != 40 {
		t.Errorf("the table's bucket: %+v", v)
	}
	if len(s.m[LevelsMark]) != 0 {
		t.Error("the mark is still there")
	}
	// A crash now: nothing is known but this start.
	now += second
	crashed := boot(t, s, now)
	if n := crashed.left("default", 0, now+5*second); n != 5 {
		t.Errorf("5 s after a crash %d are left, want 5", n)
	}
}

// A clean stop soon after a crash does not make the crash's empty buckets whole.
func TestLevelsRememberACrashOverACleanStop(t *testing.T) {
	if clock.BootID() == "" {
		t.Skip("times of two processes cannot be compared here")
	}
	s := &marks{m: map[string][]byte{}}
	now := 1000 * second
	crashed := boot(t, s, now)
	now += 3 * second
	if err := crashed.Save(now); err != nil {
		t.Fatal(err)
	}
	now += 4 * second
	next := boot(t, s, now)
	if n := next.left("default", 0, now); n != 7 {
		t.Errorf("7 s after the crash's restart %d are left", n)
	}
}

// In another boot the clock started again: no time between is assumed.
func TestLevelsOverAReboot(t *testing.T) {
	s := &marks{m: map[string][]byte{}}
	now := 100_000 * second
	first := boot(t, s, now)
	now += 3600 * second
	first.left("default", 40, now)
	if err := first.Save(now); err != nil {
		t.Fatal(err)
	}
	if id := []byte(clock.BootID()); len(id) > 0 {
		other := bytes.Repeat([]byte{'x'}, len(id))
		s.m[LevelsMark] = bytes.Replace(s.m[LevelsMark], id, other, 1)
	}
	next := boot(t, s, 20*second)
	if n := next.left("default", 0, 20*second); n != 20 {
		t.Errorf("20 were left, in the next boot %d", n)
	}
}

func TestLevelsUnreadable(t *testing.T) {
	s := &marks{m: map[string][]byte{}}
	first := boot(t, s, 1000*second)
	first.left("default", 0, 5000*second)
	first.left("default", 40, 5000*second)
	if err := first.Save(5000 * second); err != nil {
		t.Fatal(err)
	}
	good := s.m[LevelsMark]
	for n := 1; n < len(good); n++ {
		s.m[LevelsMark] = good[:n]
		next := boot(t, s, 9000*second)
		if left := next.left("default", 0, 9000*second); left > 20 && next.since != 9000*second {
			t.Errorf("cut at %d of %d bytes, the bucket begins with %d", n, len(good), left)
		}
	}
	// A mark that cannot be removed would come back after a crash.
	s.m[LevelsMark], s.err = good, errors.New("disk")
	l := newMonths(0, 0)
	if _, err := (&Levels{Marks: s, Ledger: l, Table: limiter.NewBuckets(64), Logger: slog.New(slog.DiscardHandler)}).Resume(0); !errors.Is(err, s.err) {
		t.Errorf("resumed with a mark that stays: %v", err)
	}
}
