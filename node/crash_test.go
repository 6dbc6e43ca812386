package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Environment: set by make torture, and, in a process that is killed, what it
// does (a child, as JSON).
const (
	envTorture = "PERFGATE_TORTURE"
	envChild   = "PERFGATE_TEST_CHILD"
)

// crashes is how many kills or power losses a test makes.
func crashes(ordinary, torture int) int {
	if os.Getenv(envTorture) != "" {
		return torture
	}
	return ordinary
}

// journal is a log whose text tests look at.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), s)
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Messages of Raft's that the tests count.
const (
	msgRestore  = "starting restore from snapshot"
	msgSnapshot = "snapshot complete up to"
)

// writeForever creates keys from first on with several writers until ctx ends,
// and calls acked with the number of each that was acknowledged.
func writeForever(ctx context.Context, r *Replica, writers, first int, acked func(int)) {
	var next atomic.Int64
	next.Store(int64(first))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1) - 1)
				receipt, err := r.Propose(ctx, createKey(n))
				if err != nil || receipt.Refusal != nil {
					continue
				}
				acked(n)
			}
		})
	}
	wg.Wait()
}

// child says what a process that will be killed does.
type child struct {
	Dir     string
	Writers int
	First   int  // number of the first key
	Often   bool // takes snapshots all the time
}

// TestChild is no test: it is the process that others kill. It writes keys and
// prints the numbers of those acknowledged.
func TestChild(t *testing.T) {
	var me child
	if err := json.Unmarshal([]byte(os.Getenv(envChild)), &me); err != nil {
		t.Skip("only as a child of other tests")
	}
	c := configured(t, vfs.Default, me.Dir)
	if me.Often {
		c.tune = often
	}
	r := started(t, c)
	out := make(chan int, 1024)
	go writeForever(t.Context(), r, me.Writers, me.First, func(n int) { out <- n })
	for n := range out {
		os.Stdout.WriteString("acked " + strconv.Itoa(n) + "\n")
	}
}

// TestKill9 kills a writing process again and again: every key that it said was
// acknowledged is there afterwards, it always starts again, and it never has to
// restore a snapshot to do so.
func TestKill9(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	r := replicaAt(t, vfs.Default, dir)
	begin(t, r)
	shut(t, r)

	var acked []int
	next := 0
	var log journal
	for round := range crashes(8, 1000) {
		enough := 1 + rng.IntN(800)
		fresh := child{Dir: dir, Writers: 8, First: next, Often: true}.kill(t, func(n int) bool { return n >= enough })
		c := configured(t, vfs.Default, dir)
		c.Logger, c.tune = log.logger(), often
		r := started(t, c)
		for _, n := range fresh {
			if !holds(t, r, n) {
				t.Fatalf("round %d: key %d was acknowledged and is lost (seed %d)", round, n, seed)
			}
			next = max(next, n+1)
		}
		next += 100 // those under way when the process died
		acked = append(acked, fresh...)
		shut(t, r)
	}
	r = replicaAt(t, vfs.Default, dir)
	defer shut(t, r)
	for _, n := range acked {
		if !holds(t, r, n) {
			t.Fatalf("key %d was there once and is lost (seed %d)", n, seed)
		}
	}
	if n := log.count(msgRestore); n > 0 {
		t.Errorf("%d restores from a snapshot: a state that survived was thrown away", n)
	}
	if len(acked) == 0 {
		t.Error("nothing was acknowledged: the test shows nothing")
	}
	t.Logf("%d acknowledged writes, 0 lost", len(acked))
}

// kill runs a child and kills it when until says so, which is asked after each
// acknowledged write, or a little later. It returns the keys' numbers.
func (me child) kill(tb testing.TB, until func(acked int) bool) (acked []int) {
	tb.Helper()
	env, err := json.Marshal(me)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), envChild+"="+string(env))
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	guard := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() }) // one that hangs
	defer guard.Stop()
	var other []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		number, ok := strings.CutPrefix(lines.Text(), "acked ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			other = append(other, lines.Text())
			continue
		}
		if acked = append(acked, n); until(len(acked)) {
			cmd.Process.Kill()
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 || len(acked) == 0 {
		tb.Fatalf("the child was not killed while it wrote: %v\n%s\n%s", err, strings.Join(other, "\n"), stderr.String())
	}
	return acked
}

// TestPowerLoss cuts the power of a whole replica, log, state and snapshots, at
// random moments under writes: what was acknowledged before is there afterwards,
// and no restore is needed.
func TestPowerLoss(t *testing.T) {
	cuts := crashes(32, 500)
	const each = 4
	for seed := range uint64((cuts + each - 1) / each) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			powerLoss(t, seed, each)
		})
	}
}

func powerLoss(t *testing.T, seed uint64, cuts int) {
	rng := rand.New(rand.NewPCG(seed, 2))
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syncAll(fs, "data"), syncAll(fs, "")); err != nil {
		t.Fatal(err)
	}
	next := 0
	acked := map[int]bool{}
	for cut := range cuts {
		var log journal
		c := configured(t, fs, "data")
		c.Logger, c.tune = log.logger(), often
		r := started(t, c)
		if n := log.count(msgRestore); n > 0 {
			t.Fatalf("cut %d: the state had to be restored from a snapshot", cut)
		}
		if cut == 0 {
			begin(t, r)
		}
		for n := range acked {
			if !holds(t, r, n) {
				t.Fatalf("cut %d: key %d was acknowledged and is lost", cut, n)
			}
		}
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		want := 50 + rng.IntN(600)
		enough := make(chan struct{})
		go func() {
			defer close(done)
			count := 0
			writeForever(ctx, r, 8, next, func(n int) {
				mu.Lock()
				defer mu.Unlock()
				acked[n] = true
				next = max(next, n+1)
				if count++; count == want {
					close(enough)
				}
			})
		}()
		<-enough
		mu.Lock()
		// Nothing is acknowledged while the power is being cut, writes go on.
		before := make(map[int]bool, len(acked))
		for n := range acked {
			before[n] = true
		}
		clone := fs.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: 30 * (cut % 3), RNG: rand.New(rand.NewPCG(seed, uint64(cut))),
		})
		mu.Unlock()
		cancel()
		<-done
		shut(t, r)
		fs, acked, next = clone, before, next+100
	}
}

func syncAll(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// TestInterruptedBootstrap cuts the power at every fsync of the very first
// start: the next one always works.
func TestInterruptedBootstrap(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syncAll(fs, "data"), syncAll(fs, "")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var clones []*vfs.MemFS
	spy := syncSpy{fs, func() {
		mu.Lock()
		defer mu.Unlock()
		clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{}))
	}}
	r := replicaAt(t, spy, "data")
	shut(t, r)
	if len(clones) < 10 {
		t.Fatalf("only %d fsyncs were seen", len(clones))
	}
	for i, clone := range clones {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := replicaAt(t, clone, "data")
			begin(t, r)
			shut(t, r)
		})
	}
}

// syncSpy calls after when an fsync has succeeded.
type syncSpy struct {
	vfs.FS
	after func()
}

type spiedFile struct {
	vfs.File
	after func()
}

func (s syncSpy) spy(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return spiedFile{f, s.after}, nil
}

func (s syncSpy) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.spy(s.FS.Create(name, c))
}

func (s syncSpy) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.spy(s.FS.ReuseForWrite(from, to, c))
}

func (s syncSpy) OpenDir(name string) (vfs.File, error) { return s.spy(s.FS.OpenDir(name)) }

func (f spiedFile) Sync() error {
	err := f.File.Sync()
	f.after()
	return err
}

func (f spiedFile) SyncData() error {
	err := f.File.SyncData()
	f.after()
	return err
}

// TestSnapshotsUnderLoad: snapshots are taken while writes go on, the log is
// cut behind them, and an ordinary restart uses neither.
func TestSnapshotsUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log journal
	c := configured(t, vfs.Default, dir)
	c.Logger, c.tune = log.logger(), often
	r := started(t, c)
	begin(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	count := 0
	var mu sync.Mutex
	writeForever(ctx, r, 8, 0, func(int) {
		mu.Lock()
		defer mu.Unlock()
		if count++; count >= 1000 && log.count(msgSnapshot) >= 3 {
			cancel()
		}
	})
	if log.count("failed to take snapshot") > 0 {
		t.Errorf("snapshots failed:\n%s", log.b.String())
	}
	first, err := r.engine.log.FirstIndex()
	if err != nil || first <= 1 {
		t.Errorf("the log still begins at %d, %v", first, err)
	}
	shut(t, r)
	metas, err := r.engine.snaps.List()
	if err != nil || len(metas) == 0 || len(metas) > 2 {
		t.Errorf("%d snapshots are kept, %v", len(metas), err)
	}

	var again journal
	c = configured(t, vfs.Default, dir)
	c.Logger = again.logger()
	r = started(t, c)
	if again.count(msgRestore) != 0 {
		t.Error("an ordinary restart restored a snapshot")
	}
	shut(t, r)

	// Without the state, it comes back from snapshot and log.
	if err := os.RemoveAll(dir + "/" + stateDir); err != nil {
		t.Fatal(err)
	}
	var lost journal
	c = configured(t, vfs.Default, dir)
	c.Logger = lost.logger()
	r = started(t, c)
	defer shut(t, r)
	if lost.count(msgRestore) != 1 {
		t.Errorf("%d restores for a lost state, want 1", lost.count(msgRestore))
	}
	if r.Store().ClusterID() != "c1" || !holds(t, r, 0) || !holds(t, r, 500) {
		t.Error("the state did not come back whole")
	}
}

// TestRestartBehindBarriers: a snapshot's Raft index counts entries that the
// state never sees. Comparing the state with that would restore at every start.
func TestRestartBehindBarriers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicaAt(t, vfs.Default, dir)
	begin(t, r)
	for range 3 {
		if err := r.engine.raft.Barrier(time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.engine.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	index, applied, _, err := r.engine.snaps.Newest()
	if err != nil || applied != r.Store().Applied() || index < applied+3 {
		t.Fatalf("the snapshot is at %d, its state at %d, %v; the state is at %d", index, applied, err, r.Store().Applied())
	}
	shut(t, r)
	var log journal
	c := configured(t, vfs.Default, dir)
	c.Logger = log.logger()
	r = started(t, c)
	defer shut(t, r)
	if n := log.count(msgRestore); n > 0 {
		t.Errorf("%d restores at an ordinary start", n)
	}
}

// TestForeignLog: a state beside an older or an empty log is refused, because
// indexes would be given out twice.
func TestForeignLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := replicaAt(t, vfs.Default, dir)
	begin(t, r)
	must(t, r, createKey(1))
	shut(t, r)
	if err := os.RemoveAll(dir + "/" + logDir); err != nil {
		t.Fatal(err)
	}
	_, err := OpenReplica(t.Context(), configured(t, vfs.Default, dir))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a state without its log was taken: %v", err)
	}
}
