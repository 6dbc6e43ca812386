package replica_test

import (
	"bytes"
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
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/losstest"
)

// answered fails unless err has the reason, and the hint to try again.
func answered(tb testing.TB, err, reason error) {
	tb.Helper()
	var e *replica.Error
	if !errors.As(err, &e) || e.Reason != reason || e.RetryAfter < 1 {
		tb.Fatalf("got %v, must be %q with a hint to try again", err, reason)
	}
}

func TestNoLeader(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	r.SetLeads(false)
	began := time.Now()
	_, err := r.Propose(t.Context(), replicatest.CreateKey(1))
	answered(t, err, replica.ErrNoLeader)
	if replica.LeaderWait > 2*time.Second-200*time.Millisecond {
		t.Errorf("a client learns after more than %v that there is no leader, not within 2 s", replica.LeaderWait)
	}
	// Five seconds are for a loaded machine; a wait without an end would last for minutes.
	if took := time.Since(began); took > replica.LeaderWait+5*time.Second {
		t.Errorf("it took %v to say that there is no leader", took)
	}
	if r.Ready() == nil {
		t.Error("ready without a leader")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	answered(t, r.Linearize(ctx), replica.ErrNoLeader)
	r.SetLeads(true)
	if replicatest.Holds(t, r, 1) {
		t.Error("what was refused for want of a leader was made all the same")
	}
	replicatest.Must(t, r, replicatest.CreateKey(1))
}

func TestTooBusy(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	for range replica.MaxOutstanding {
		r.Slots() <- struct{}{}
	}
	_, err := r.Propose(t.Context(), replicatest.CreateKey(1))
	answered(t, err, replica.ErrBusy)
	for range replica.MaxOutstanding {
		<-r.Slots()
	}
	replicatest.Must(t, r, replicatest.CreateKey(1))
}

// TestNothingBeforeTheState: only the command that founds a cluster may be the first one of
// a log. After any other one, the node would take its log for that of a cluster whose state
// was lost, and end.
func TestNothingBeforeTheState(t *testing.T) {
	t.Parallel()
	r := replicatest.At(t, vfs.Default, t.TempDir())
	defer replicatest.Shut(t, r)
	job := &store.Command{At: time.Now(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "system"}, Change: &store.OperatorsLog{}}
	_, err := r.Propose(t.Context(), job)
	answered(t, err, replica.ErrUnavailable)
	_, err = r.CommitForwarded(t.Context(), job.Encode())
	answered(t, err, replica.ErrUnavailable)
	if !strings.Contains(err.Error(), "has no state yet") {
		t.Errorf("the message does not say why: %v", err)
	}
	if err := r.NeverWritten(); err != nil {
		t.Fatalf("the node cannot found its cluster any more: %v", err)
	}
	// A change that is in the log and not applied may be the one that makes the state.
	last, err := r.Log().LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	stray := &raft.Log{Index: last + 1, Term: 1, Type: raft.LogCommand, Data: job.Encode()}
	if err := r.Log().StoreLog(stray); err != nil {
		t.Fatal(err)
	}
	if err := r.NeverWritten(); !replica.Passing(err) || !errors.Is(err, replica.ErrUnavailable) {
		t.Errorf("with a change that is not applied yet: %v", err)
	}
	if err := r.Log().DeleteRange(stray.Index, stray.Index); err != nil {
		t.Fatal(err)
	}
	replicatest.Begin(t, r)
	replicatest.Must(t, r, job)
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	cmd := replicatest.CreateKey(1)
	cmd.Change.(*store.KeyCreate).Key.Name = strings.Repeat("x", replica.MaxCommand)
	_, err := r.Propose(t.Context(), cmd)
	if !errors.Is(err, replica.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
}

// TestDiskFills: writes are refused while the disk is full, grants and what takes
// rights away are not, and all is well by itself when there is space.
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
	r := replicatest.At(t, fs, "data")
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	leaked := replicatest.CreateKey(7)
	replicatest.Must(t, r, leaked)
	usage(1 << 20)
	replicatest.Eventually(t, "the full disk to be noticed", r.Disk().Full)
	_, err := r.Propose(t.Context(), replicatest.CreateKey(1))
	answered(t, err, replica.ErrDiskFull)
	if !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("the message does not say why: %v", err)
	}
	if err := r.Ready(); err != nil {
		t.Errorf("a node with a full disk stops proxying: %v", err)
	}
	if c := r.Coordinator().Status(t.Context()); c.Healthy {
		t.Error("a node with a full disk says that it is healthy")
	}
	replicatest.Must(t, r, &store.Command{At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Change: &store.Grant{
		Node: "n1", Asks: []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: store.Month(time.Now()), Want: 5}},
	}})
	id := leaked.Change.(*store.KeyCreate).Key.ID
	replicatest.Must(t, r, &store.Command{At: time.Now(), Actor: leaked.Actor, Account: leaked.Account, Change: &store.KeyRevoke{ID: id, Reason: "leaked"}})
	if k, err := r.Store().Key(id); err != nil || k.RevokedAt.IsZero() {
		t.Errorf("a leaked key cannot be revoked on a full disk: %+v, %v", k, err)
	}
	usage(1 << 29)
	replicatest.Eventually(t, "writes to be accepted again", func() bool {
		_, err := r.Propose(t.Context(), replicatest.CreateKey(1))
		return err == nil
	})
}

// faulty is a disk whose fsyncs of the Raft log can fail or hang.
type faulty struct {
	mem  *losstest.Mem
	fail atomic.Bool
	mu   sync.RWMutex // held for writing: fsyncs hang
}

func newFaulty(tb testing.TB) *faulty {
	f := &faulty{mem: losstest.NewMem()}
	if err := errors.Join(f.mem.MkdirAll("data", 0o700), replicatest.SyncAll(f.mem, "data"), replicatest.SyncAll(f.mem, "")); err != nil {
		tb.Fatal(err)
	}
	return f
}

func (f *faulty) fs() vfs.FS {
	return errorfs.Wrap(f.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if !sync || !strings.Contains(op.Path, datadir.LogDir) {
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
	c := replicatest.Config(t, disk.fs(), "data")
	c.Fatal = func(err error) { fatal <- err }
	r := replicatest.Start(t, c)
	replicatest.Begin(t, r)
	replicatest.Must(t, r, replicatest.CreateKey(1))
	disk.fail.Store(true)
	_, err := r.Propose(t.Context(), replicatest.CreateKey(2))
	answered(t, err, replica.ErrUnknownOutcome)
	if err := <-fatal; !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("fatal: %v", err)
	}
	disk.fail.Store(false)
	_, err = r.Propose(t.Context(), replicatest.CreateKey(3))
	answered(t, err, replica.ErrUnavailable)
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

	r = replicatest.At(t, crashed, "data")
	defer replicatest.Shut(t, r)
	if !replicatest.Holds(t, r, 1) || replicatest.Holds(t, r, 3) {
		t.Error("after the failed fsync: the first key must be there, the third must not")
	}
}

// A disk that does not answer keeps no caller waiting beyond its deadline. Nobody else waits
// for the disk of a lone node: it goes on when the disk answers after some seconds, and
// ends only if that takes much longer.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	for name, answers := range map[string]bool{"a busy disk": true, "a hanging disk": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := newFaulty(t)
			fatal, warned := make(chan error, 1), make(chan struct{}, 1)
			c := replicatest.Config(t, disk.fs(), "data")
			c.Fatal = func(err error) { fatal <- err }
			c.Logger = slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
				if bytes.Contains(line, []byte("the disk is slow or hangs")) {
					select {
					case warned <- struct{}{}:
					default:
					}
				}
				return len(line), nil
			}), nil))
			c.StoreLimit = limit
			r := replicatest.Start(t, c)
			replicatest.Begin(t, r)
			disk.mu.Lock()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := r.Propose(ctx, replicatest.CreateKey(1))
			answered(t, err, replica.ErrUnknownOutcome)
			select {
			case <-warned:
			case <-time.After(time.Minute):
				t.Error("nobody noticed that the disk hangs")
			}
			if !answers {
				select {
				case err := <-fatal:
					if !strings.Contains(err.Error(), "hangs") {
						t.Error(err)
					}
				case <-time.After(time.Minute):
					t.Error("the node goes on for ever")
				}
			}
			disk.mu.Unlock()
			if answers {
				replicatest.Must(t, r, replicatest.CreateKey(2))
				if len(fatal) > 0 {
					t.Errorf("the node ended: %v", <-fatal)
				}
			}
			replicatest.Shut(t, r)
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
