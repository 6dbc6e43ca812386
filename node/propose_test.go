package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

var _ httpapi.Backend = (*Replica)(nil)

// answered wants err to be the fault code with a Retry-After.
func answered(tb testing.TB, err error, code fault.Code) {
	tb.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code || f.RetryAfter < 1 {
		tb.Fatalf("got %v, want %s with a Retry-After", err, code)
	}
}

// eventually asks until ok says yes, for 10 s at most.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("waited 10 s for %s", what)
		}
	}
}

func TestNoLeader(t *testing.T) {
	t.Parallel()
	r := replica(t)
	r.leads.set(false)
	began := time.Now()
	_, err := r.Propose(t.Context(), createKey(1))
	answered(t, err, fault.NoLeader)
	if took := time.Since(began); took > leaderWait+500*time.Millisecond {
		t.Errorf("it took %v to say that there is no leader", took)
	}
	if r.Ready() == nil {
		t.Error("ready without a leader")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	answered(t, r.Linearize(ctx), fault.NoLeader)
	r.leads.set(true)
	if holds(t, r, 1) {
		t.Error("what was refused for want of a leader was made all the same")
	}
	must(t, r, createKey(1))
}

func TestTooBusy(t *testing.T) {
	t.Parallel()
	r := replica(t)
	for range maxOutstanding {
		r.slots <- struct{}{}
	}
	_, err := r.Propose(t.Context(), createKey(1))
	answered(t, err, fault.TooBusy)
	for range maxOutstanding {
		<-r.slots
	}
	must(t, r, createKey(1))
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	r := replica(t)
	cmd := createKey(1)
	cmd.KeyCreate.Key.Name = strings.Repeat("x", maxCommand)
	_, err := r.Propose(t.Context(), cmd)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.BodyTooLarge {
		t.Fatalf("got %v", err)
	}
}

// TestDiskFills: writes are refused while the disk is full, grants are not, and
// all is well by itself when there is space.
func TestDiskFills(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	usage := func(avail uint64) {
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: avail, TotalBytes: 1 << 30})
	}
	usage(1 << 29)
	r := replicaAt(t, fs, "data")
	defer shut(t, r)
	begin(t, r)
	usage(1 << 20)
	eventually(t, "the full disk to be noticed", r.space.Full)
	_, err := r.Propose(t.Context(), createKey(1))
	answered(t, err, fault.Unavailable)
	if !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("the message does not say why: %v", err)
	}
	if err := r.Ready(); err != nil {
		t.Errorf("a node with a full disk stops proxying: %v", err)
	}
	if c := r.Cluster(t.Context()); c.Healthy {
		t.Error("a node with a full disk says that it is healthy")
	}
	must(t, r, &store.Command{At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Grant: &store.Grant{
		Node: "n1", Asks: []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: store.Month(time.Now()), Want: 5}},
	}})
	usage(1 << 29)
	eventually(t, "writes to be accepted again", func() bool {
		_, err := r.Propose(t.Context(), createKey(1))
		return err == nil
	})
}

// faulty is a disk whose fsyncs of the Raft log can fail or hang.
type faulty struct {
	mem  *vfs.MemFS
	fail atomic.Bool
	mu   sync.RWMutex // held for writing: fsyncs hang
}

func newFaulty(tb testing.TB) *faulty {
	f := &faulty{mem: vfs.NewCrashableMem()}
	if err := errors.Join(f.mem.MkdirAll("data", 0o700), syncAll(f.mem, "data"), syncAll(f.mem, "")); err != nil {
		tb.Fatal(err)
	}
	return f
}

func (f *faulty) fs() vfs.FS {
	return errorfs.Wrap(f.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if !sync || !strings.Contains(op.Path, logDir) {
			return nil
		}
		f.mu.RLock()
		defer f.mu.RUnlock()
		if f.fail.Load() {
			return errorfs.ErrInjected
		}
		return nil
	}))
}

// TestFailedSync: a write whose fsync failed is not acknowledged, nor is any
// after it, the node asks to be ended, and starts again without it or with it,
// but with everything acknowledged before.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	disk := newFaulty(t)
	fatal := make(chan error, 10)
	c := configured(t, disk.fs(), "data")
	c.Fatal = func(err error) { fatal <- err }
	r := started(t, c)
	begin(t, r)
	must(t, r, createKey(1))
	disk.fail.Store(true)
	_, err := r.Propose(t.Context(), createKey(2))
	answered(t, err, fault.UnknownOutcome)
	if err := <-fatal; !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("fatal: %v", err)
	}
	disk.fail.Store(false)
	_, err = r.Propose(t.Context(), createKey(3))
	answered(t, err, fault.Unavailable)
	if r.Ready() == nil {
		t.Error("ready after a failed fsync")
	}
	if len(fatal) > 0 {
		t.Errorf("fatal was called again: %v", <-fatal)
	}
	crashed := disk.mem.CrashClone(vfs.CrashCloneCfg{})
	if err := r.Shutdown(t.Context()); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("shut down: %v; what is lost must be said", err)
	}

	r = replicaAt(t, crashed, "data")
	defer shut(t, r)
	if !holds(t, r, 1) || holds(t, r, 3) {
		t.Error("after the failed fsync: the first key must be there, the third must not")
	}
}

// TestHangingDisk: a disk that does not answer ends the node inside a serving
// lease, and no caller waits for it longer than it wants.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	disk := newFaulty(t)
	fatal := make(chan error, 1)
	c := configured(t, disk.fs(), "data")
	c.Fatal = func(err error) { fatal <- err }
	r := started(t, c)
	begin(t, r)
	disk.mu.Lock()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := r.Propose(ctx, createKey(1))
	answered(t, err, fault.UnknownOutcome)
	select {
	case err := <-fatal:
		if took := time.Since(began); took < storeLimit || !strings.Contains(err.Error(), "hangs") {
			t.Errorf("after %v: %v", took, err)
		}
	case <-time.After(storeLimit + 2*time.Second):
		t.Error("nobody noticed that the disk hangs")
	}
	disk.mu.Unlock()
	shut(t, r)
}

func TestRaftLogger(t *testing.T) {
	for level, lines := range map[slog.Level]map[string]int{
		slog.LevelInfo: {"below": 0, "heartbeat": 0, "level=ERROR msg=failed": 1},
		slog.LevelDebug: {
			`level=DEBUG msg="below the level" from=raft`: 1, "level=ERROR msg=failed": 1,
			`level=DEBUG msg="heartbeat timeout" from=raft term=7 error=why`: 1,
		},
	} {
		var log journal
		l := newRaftLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})))
		l.Info("below the level")
		l.With("term", 7).Named("sub").Warn("heartbeat timeout", "error", errors.New("why"))
		l.Error("failed")
		for text, want := range lines {
			if got := log.count(text); got != want {
				t.Errorf("at %v %q is there %d times, want %d:\n%s", level, text, got, want, log.b.String())
			}
		}
	}
}
