package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
	"github.com/perfgate/perfgate/store/losstest"
	"pgregory.net/rapid"
)

func open(t testing.TB, fs vfs.FS) *Log {
	t.Helper()
	l, err := Open(Config{
		FS: fs, Dir: "raftlog", Plain: fs, Witness: "raftlog.end",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Fatal:  func(err error) { t.Logf("fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func entry(index uint64) *raft.Log {
	return &raft.Log{
		Index: index, Term: 1 + index/10, Type: raft.LogType(index % 6),
		Data:       bytes.Repeat([]byte{byte(index)}, int(index%50)),
		Extensions: bytes.Repeat([]byte{byte(index + 1)}, int(index%3)),
		AppendedAt: time.Unix(int64(index), int64(index)).UTC(),
	}
}

func same(t testing.TB, got, want *raft.Log) {
	t.Helper()
	if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type ||
		!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) ||
		!got.AppendedAt.Equal(want.AppendedAt) {
		t.Fatalf("entry %d:\n got %+v\nwant %+v", want.Index, got, want)
	}
}

func bounds(t testing.TB, l *Log, first, last uint64) {
	t.Helper()
	f, err1 := l.FirstIndex()
	n, err2 := l.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if f != first || n != last {
		t.Fatalf("the log spans %d–%d, want %d–%d", f, n, first, last)
	}
}

func TestStableStore(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs)
	if _, err := l.Get([]byte("LastVoteCand")); err == nil || err.Error() != "not found" {
		t.Fatalf("an absent value answers %v; Raft compares the text \"not found\"", err)
	}
	if _, err := l.GetUint64([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Fatalf("an absent number answers %v; Raft compares the text \"not found\"", err)
	}
	if err := errors.Join(l.Set([]byte("LastVoteCand"), []byte("n1")), l.SetUint64([]byte("CurrentTerm"), 7)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, fs)
	defer l.Close()
	if v, err := l.Get([]byte("LastVoteCand")); err != nil || string(v) != "n1" {
		t.Fatalf("got %q, %v", v, err)
	}
	if v, err := l.GetUint64([]byte("CurrentTerm")); err != nil || v != 7 {
		t.Fatalf("got %d, %v", v, err)
	}
	if _, err := l.GetUint64([]byte("LastVoteCand")); err == nil {
		t.Fatal("two bytes were read as a number")
	}
	if err := l.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.GetUint64([]byte("CurrentTerm")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("after Reset: %v", err)
	}
}

// TestModel compares the log with a map under random writes, truncations at both
// ends, reads and reopenings.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		l := open(t, fs)
		defer func() { l.Close() }()
		model := map[uint64]*raft.Log{}
		next := uint64(1)
		span := func() (first, last uint64) { return span(model) }
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				var batch []*raft.Log
				for range rapid.IntRange(1, 300).Draw(rt, "n") {
					e := entry(next)
					e.Term = rapid.Uint64().Draw(rt, "term")
					batch, model[next] = append(batch, e), e
					next++
				}
				if err := l.StoreLogs(batch); err != nil {
					rt.Fatal(err)
				}
			},
			"compact": func(rt *rapid.T) {
				first, last := span()
				remove(rt, l, model, first, rapid.Uint64Range(first, last).Draw(rt, "to"))
			},
			"truncate": func(rt *rapid.T) {
				first, last := span()
				from := rapid.Uint64Range(first, last).Draw(rt, "from")
				remove(rt, l, model, from, last)
				if next = from; next == 0 {
					next = 1
				}
			},
			"read": func(rt *rapid.T) {
				first, last := span()
				from := rapid.Uint64Range(first, last+2).Draw(rt, "from")
				for i := from; i < from+300; i++ {
					holds(t, rt, l, i, model[i])
				}
			},
			"reopen": func(rt *rapid.T) {
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
				l = open(t, fs)
			},
			"": func(rt *rapid.T) {
				first, last := span()
				bounds(t, l, first, last)
			},
		})
	})
}

// span returns the lowest and the highest index of the model, 0 and 0 if it is empty.
func span(model map[uint64]*raft.Log) (first, last uint64) {
	for i := range model {
		if first == 0 || i < first {
			first = i
		}
		last = max(last, i)
	}
	return first, last
}

// remove deletes the entries first to last from the log and from the model.
func remove(rt *rapid.T, l *Log, model map[uint64]*raft.Log, first, last uint64) {
	if err := l.DeleteRange(first, last); err != nil {
		rt.Fatal(err)
	}
	for i := first; i <= last; i++ {
		delete(model, i)
	}
}

// holds checks that entry i of the log is want, or absent if want is nil.
func holds(t *testing.T, rt *rapid.T, l *Log, i uint64, want *raft.Log) {
	var got raft.Log
	err := l.GetLog(i, &got)
	if want == nil {
		if !errors.Is(err, raft.ErrLogNotFound) {
			rt.Fatalf("absent entry %d: %v", i, err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("entry %d: %v", i, err)
	}
	same(t, &got, want)
}

// TestPowerLoss cuts the power at random moments: every acknowledged entry is
// there afterwards, and the entries there are a prefix of the written ones.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			fs := losstest.NewMem()
			l := open(t, fs)
			var acknowledged, written uint64
			stop := make(chan struct{})
			done := make(chan struct{})
			type cut struct {
				fs    *losstest.Mem
				acked uint64
			}
			asked := make(chan chan uint64)
			go func() {
				defer close(done)
				for {
					select {
					case <-stop:
						return
					case c := <-asked:
						c <- acknowledged
					default:
					}
					var batch []*raft.Log
					for range 1 + rng.IntN(20) {
						written++
						batch = append(batch, entry(written))
					}
					if err := l.StoreLogs(batch); err != nil {
						t.Error(err)
						return
					}
					acknowledged = written
				}
			}()
			var cuts []cut
			for i := range 5 {
				c := make(chan uint64)
				asked <- c
				n := <-c // acknowledged before the cut, writes go on beside it
				cuts = append(cuts, cut{fs.CrashClone(vfs.CrashCloneCfg{
					UnsyncedDataPercent: 25 * i, RNG: rand.New(rand.NewPCG(seed, uint64(i))),
				}), n})
			}
			close(stop)
			<-done
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			for _, c := range cuts {
				afterLoss(t, c.fs, c.acked)
			}
		})
	}
}

// afterLoss checks the log on the disk that a power loss left: it holds at least
// the acknowledged entries, and every entry up to its last is the written one.
func afterLoss(t *testing.T, fs *losstest.Mem, acknowledged uint64) {
	t.Helper()
	l := open(t, fs)
	last, _ := l.LastIndex()
	if last < acknowledged {
		t.Fatalf("%d entries were acknowledged, %d are left", acknowledged, last)
	}
	for i := uint64(1); i <= last; i++ {
		var got raft.Log
		if err := l.GetLog(i, &got); err != nil {
			t.Fatalf("entry %d of %d: %v", i, last, err)
		}
		same(t, &got, entry(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync: after one failed fsync nothing is acknowledged any more, even
// when the disk says that it works again.
func TestFailedSync(t *testing.T) {
	var broken atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if broken.Load() && sync && strings.HasSuffix(op.Path, ".log") {
			return errorfs.ErrInjected
		}
		return nil
	})
	var fatal []error
	mem := losstest.NewMem()
	l, err := Open(Config{
		FS: errorfs.Wrap(mem, inject), Dir: "raftlog",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Fatal:  func(err error) { fatal = append(fatal, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.StoreLogs([]*raft.Log{entry(1)}); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := l.StoreLogs([]*raft.Log{entry(2)}); err == nil {
		t.Fatal("an entry was acknowledged although the fsync failed")
	}
	broken.Store(false)
	if len(fatal) != 1 || !errors.Is(fatal[0], errorfs.ErrInjected) {
		t.Fatalf("Fatal was called with %v, want the injected error once", fatal)
	}
	bounds(t, l, 1, 1)
	for what, call := range map[string]func() error{
		"StoreLogs":   func() error { return l.StoreLogs([]*raft.Log{entry(2)}) },
		"Set":         func() error { return l.SetUint64([]byte("CurrentTerm"), 9) },
		"DeleteRange": func() error { return l.DeleteRange(1, 1) },
	} {
		if err := call(); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("%s after a failed fsync answers %v", what, err)
		}
	}
	after := open(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	defer after.Close()
	bounds(t, after, 1, 1)
}
