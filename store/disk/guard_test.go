package disk

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// failures collects the calls of Fatal.
type failures struct {
	mu   sync.Mutex
	list []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, err)
}

func (f *failures) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// guarded opens an instance. While failing is a kind of file operation, operations
// of that kind fail.
func guarded(t *testing.T, failing *atomic.Int32) (*pebble.DB, *Guard, *failures) {
	t.Helper()
	failing.Store(-1)
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if int32(op.Kind) == failing.Load() {
			return syscall.EIO
		}
		return nil
	}))
	f := new(failures)
	g := NewGuard(GuardConfig{Name: "test db", Logger: quiet(), Fatal: f.add})
	o := &pebble.Options{FS: fs}
	g.Watch(o)
	db, err := pebble.Open("db", o)
	if err != nil {
		t.Fatal(err)
	}
	return db, g, f
}

func put(db *pebble.DB, g *Guard, key string) error {
	b := db.NewBatch()
	defer b.Close()
	return errors.Join(b.Set([]byte(key), nil, nil), g.Commit(b, pebble.Sync))
}

// After a failed fsync nothing is acknowledged any more, even if the disk works
// again, and Fatal is called once.
func TestCommitAfterFailedSync(t *testing.T) {
	for name, kind := range map[string]errorfs.OpKind{"sync": errorfs.OpFileSyncData, "write": errorfs.OpFileWrite} {
		t.Run(name, func(t *testing.T) {
			var failing atomic.Int32
			db, g, f := guarded(t, &failing)
			if err := put(db, g, "a"); err != nil || g.Err() != nil {
				t.Fatalf("the control: %v %v", err, g.Err())
			}
			failing.Store(int32(kind))
			err := put(db, g, "b")
			if err == nil || !strings.Contains(err.Error(), "test db") {
				t.Fatalf("a failed %s: %v", name, err)
			}
			failing.Store(-1)
			if err := put(db, g, "c"); !errors.Is(err, g.Err()) || g.Err() == nil {
				t.Errorf("the commit after it: %v", err)
			}
			if list := f.all(); len(list) != 1 || !errors.Is(list[0], syscall.EIO) || !strings.HasPrefix(list[0].Error(), "test db: ") {
				t.Errorf("Fatal was called with %v", list)
			}
		})
	}
}

// A panic that is not the guard's own passes through Commit.
func TestCommitKeepsOtherPanics(t *testing.T) {
	var failing atomic.Int32
	db, g, f := guarded(t, &failing)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("no panic")
		}
		if g.Err() != nil || len(f.all()) != 0 {
			t.Errorf("a closed instance is a failure of the disk: %v", g.Err())
		}
	}()
	_ = put(db, g, "a")
}

func TestFailOnce(t *testing.T) {
	f := new(failures)
	g := NewGuard(GuardConfig{Name: "db", Logger: quiet(), Fatal: f.add})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { g.Fail(syscall.EIO) })
	}
	wg.Wait()
	if list := f.all(); len(list) != 1 || !errors.Is(g.Err(), syscall.EIO) || g.Err().Error() != "db: "+syscall.EIO.Error() {
		t.Errorf("%v, Err is %v", list, g.Err())
	}
	NewGuard(GuardConfig{}).Fail(syscall.EIO) // neither logger nor Fatal
}

// Where Pebble cannot go on, the goroutine panics with the cause, or stays.
func TestFatalf(t *testing.T) {
	f := new(failures)
	g := NewGuard(GuardConfig{Name: "db", Logger: quiet(), Fatal: f.add})
	func() {
		defer func() {
			err, ok := recover().(error)
			if !ok || err.Error() != "db: commit: input/output error" || !errors.Is(g.Err(), syscall.EIO) {
				t.Errorf("panicked with %v; Err is %v", err, g.Err())
			}
		}()
		g.Fatalf("commit: %v", syscall.EIO)
	}()

	f = new(failures)
	g = NewGuard(GuardConfig{Name: "db", Logger: quiet(), Fatal: f.add, Park: true})
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		g.Fatalf("no %s", "cause")
	}()
	deadline := time.After(30 * time.Second)
	for parked := false; !parked; runtime.Gosched() {
		stack := make([]byte, 1<<20)
		stack = stack[:runtime.Stack(stack, true)]
		parked = bytes.Contains(stack, []byte("select (no cases)"))
		select {
		case <-returned:
			t.Fatal("Fatalf returned")
		case <-deadline:
			t.Fatal("no goroutine is parked")
		default:
		}
	}
	if list := f.all(); len(list) != 1 || g.Err() == nil || g.Err().Error() != "db: no cause" {
		t.Errorf("%v, Err is %v", list, g.Err())
	}
}

// A damaged file ends an instance that asks for it, and is logged otherwise.
func TestDamage(t *testing.T) {
	for _, fatal := range []bool{true, false} {
		f := new(failures)
		var out bytes.Buffer
		g := NewGuard(GuardConfig{Name: "db", Logger: slog.New(slog.NewTextHandler(&out, nil)), Fatal: f.add, DamageIsFatal: fatal})
		o := new(pebble.Options)
		g.Watch(o)
		o.EventListener.DataCorruption(pebble.DataCorruptionInfo{Path: "db/000004.sst", Details: errors.New("checksum")})
		if fatal != (g.Err() != nil) || fatal != (len(f.all()) == 1) {
			t.Errorf("fatal %v: %v, Err is %v", fatal, f.all(), g.Err())
		}
		if fatal && !strings.Contains(g.Err().Error(), `file "db/000004.sst" is damaged: checksum`) {
			t.Errorf("Err is %v", g.Err())
		}
		if !fatal && !strings.Contains(out.String(), "000004.sst") {
			t.Errorf("the log is %q", out.String())
		}
	}
}

// Pebble's messages are logged with the instance's name: information at debug
// level, errors and stalls as such.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	g := NewGuard(GuardConfig{Name: "db", Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	o := new(pebble.Options)
	g.Watch(o)
	o.Logger.Infof("flushed %d", 1)
	o.Logger.Errorf("lost %d", 2)
	o.EventListener.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: "memtables"})
	for _, want := range []string{`level=DEBUG msg="flushed 1" db=db`, `level=ERROR msg="lost 2" db=db`, `level=WARN msg="writes stall" db=db reason=memtables`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

// A compaction that stops at a damaged file is no failure of an instance that can be
// replaced; any other is, and so is a damaged file where it is not.
func TestGuardDamaged(t *testing.T) {
	for _, replaceable := range []bool{true, false} {
		var damaged, failed []error
		c := GuardConfig{Name: "x", Fatal: func(err error) { failed = append(failed, err) }}
		if replaceable {
			c.Damaged = func(err error) { damaged = append(damaged, err) }
		}
		var o pebble.Options
		g := NewGuard(c)
		g.Watch(&o)
		o.EventListener.BackgroundError(fmt.Errorf("compact: %w", ErrDamaged))
		o.EventListener.DataCorruption(pebble.DataCorruptionInfo{Path: "/a/b/000004.sst", Details: errors.New("checksum")})
		if replaceable {
			if len(damaged) != 2 || len(failed) != 0 || g.Err() != nil || damaged[1].Error() != "000004.sst: the file is damaged" || !Damaged(damaged[1]) {
				t.Errorf("replaceable: damaged %v, failed %v", damaged, failed)
			}
			o.EventListener.BackgroundError(errors.New("no space"))
		}
		if len(failed) != 1 || g.Err() == nil {
			t.Errorf("replaceable %v: failed %v", replaceable, failed)
		}
	}
}
