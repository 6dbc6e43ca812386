package local

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/store"
)

// total sums the account's usage at one step.
func total(t *testing.T, l *Local, step Step) (requests int64) {
	t.Helper()
	rows, err := l.Usage(UsageQuery{Account: "default", Step: step})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		requests += r.Requests
	}
	return requests
}

// Power is lost at any moment, with any part of the unsynced data: the flushed
// requests are there, the three steps agree, and no event's id is given twice,
// not even one that was read before the loss and then lost.
func TestPowerLoss(t *testing.T) {
	const losses = 40
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := crashable(t)
	now := func() time.Time { return day0.Add(24 * time.Hour) }
	ids := map[string]string{} // of every event ever read: its request
	sent, flushed := 0, 0
	for loss := range losses {
		l := open(t, Config{FS: fs, Clock: now})
		got := collect(t, l, store.EventQuery{})
		kept := int(total(t, l, StepDay))
		if len(got) < flushed || kept < flushed || kept > len(got) {
			t.Fatalf("loss %d: %d flushed, %d events, %d counted", loss, flushed, len(got), kept)
		}
		if m, h := total(t, l, StepMinute), total(t, l, StepHour); int(m) != kept || int(h) != kept {
			t.Fatalf("loss %d: %d by minute, %d by hour, %d by day", loss, m, h, kept)
		}
		if _, ok := l.LastUsed("key_a"); flushed > 0 && !ok {
			t.Fatalf("loss %d: the last use is gone", loss)
		}
		sent = len(got)
		write := func(n int) {
			for range n {
				o := admitted(day0.Add(time.Duration(sent%7)*time.Minute), "default", "key_a")
				o.RequestID = string(rune('a'+loss%26)) + "-" + time.Duration(sent).String() + "-" + time.Duration(rng.Int64N(1e15)).String()
				l.Observe(o)
				sent++
			}
		}
		write(rng.IntN(300))
		if rng.IntN(2) == 0 {
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
			flushed = sent
		} else {
			flushed = min(kept, len(got)) // events and counts may be kept to different lengths
		}
		write(rng.IntN(300))
		for _, e := range collect(t, l, store.EventQuery{}) { // writes, without syncing
			if r, ok := ids[e.ID]; ok && r != e.Request.ID {
				t.Fatalf("loss %d: id %s was given to %s and to %s", loss, e.ID, r, e.Request.ID)
			}
			ids[e.ID] = e.Request.ID
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		l.Close()
		fs = crashed
	}
	if len(ids) < 1000 {
		t.Fatalf("only %d events in all: the test tests nothing", len(ids))
	}
}

// A failed sync is reported to the node once; no call hangs on it.
func TestDiskFails(t *testing.T) {
	var failing atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && strings.HasSuffix(op.Path, ".log") {
			return errors.New("input/output error")
		}
		return nil
	})
	told := make(chan error, 10)
	l := ticking(t, Config{FS: errorfs.Wrap(vfs.NewMem(), inject), Fatal: func(err error) { told <- err }})
	l.Observe(admitted(day0, "default", "key_a"))
	failing.Store(true)
	if err := l.Flush(); err == nil {
		t.Error("Flush answered although nothing was synced")
	}
	if err := <-told; !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("told: %v", err)
	}
	l.Observe(admitted(day0, "default", "key_a"))
	if _, err := l.Usage(UsageQuery{Step: StepDay}); err == nil {
		t.Error("Usage answered after the failure")
	}
	if err := l.Close(); err == nil {
		t.Error("Close was content")
	}
	if len(told) != 0 {
		t.Errorf("told again: %v", <-told)
	}
}

// A row that does not decode is an error that says where, never a panic.
func TestDamagedRow(t *testing.T) {
	l := open(t, Config{})
	l.Observe(admitted(day0, "default", "key_a"))
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	key, _ := eventRow(t, l, eventKey(nil, store.AccountID("default"), nanos(day0), 1))
	if err := l.db.Set(key, []byte{kindRequest, 0}, nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Events(store.EventQuery{}) {
		if !errors.Is(err, errCorrupt) || !strings.Contains(err.Error(), "event 1 of 2026-11-01") {
			t.Errorf("got %v", err)
		}
	}
}
