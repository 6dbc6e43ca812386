package replica_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store/logtest"
	"github.com/perfgate/perfgate/store/losstest"
)

// Environment: set by make torture, and, in a process that is killed, its
// task (a child, as JSON).
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

// Messages of Raft's that the tests count.
const (
	msgRestore  = "is restored from it"
	msgSnapshot = "snapshot complete up to"
)

// writeForever creates keys from first on with several writers until ctx ends,
// and calls acked with the number of each that was acknowledged.
func writeForever(ctx context.Context, r *replica.Replica, writers, first int, acked func(int)) {
	var next atomic.Int64
	next.Store(int64(first))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1) - 1)
				receipt, err := r.Propose(ctx, replicatest.CreateKey(n))
				if err != nil || receipt.Refusal != nil {
					continue
				}
				acked(n)
			}
		})
	}
	wg.Wait()
}

// child is the task of a process that will be killed.
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
	c := replicatest.Config(t, vfs.Default, me.Dir)
	if me.Often {
		c.Tune = replicatest.Often
	}
	r := replicatest.Start(t, c)
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
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	replicatest.Shut(t, r)

	var acked []int
	next := 0
	var log logtest.Log
	for round := range crashes(8, 1000) {
		enough := 1 + rng.IntN(800)
		fresh := child{Dir: dir, Writers: 8, First: next, Often: true}.kill(t, func(n int) bool { return n >= enough })
		c := replicatest.Config(t, vfs.Default, dir)
		c.Logger, c.Tune = log.Logger(), replicatest.Often
		r := replicatest.Start(t, c)
		for _, n := range fresh {
			if !replicatest.Holds(t, r, n) {
				t.Fatalf("round %d: key %d was acknowledged and is lost (seed %d)", round, n, seed)
			}
			next = max(next, n+1)
		}
		next += 100 // those under way when the process died
		acked = append(acked, fresh...)
		replicatest.Shut(t, r)
	}
	r = replicatest.At(t, vfs.Default, dir)
	defer replicatest.Shut(t, r)
	for _, n := range acked {
		if !replicatest.Holds(t, r, n) {
			t.Fatalf("key %d was there once and is lost (seed %d)", n, seed)
		}
	}
	if n := log.Count(msgRestore); n > 0 {
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
// random moments under writes: every write acknowledged before is there afterwards,
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
	fs := replicatest.Crashable(t)
	next := 0
	acked := map[int]bool{}
	for cut := range cuts {
		var log logtest.Log
		c := replicatest.Config(t, fs, "data")
		c.Logger, c.Tune = log.Logger(), replicatest.Often
		r := replicatest.Start(t, c)
		if n := log.Count(msgRestore); n > 0 {
			t.Fatalf("cut %d: the state had to be restored from a snapshot", cut)
		}
		if cut == 0 {
			replicatest.Begin(t, r)
		}
		for n := range acked {
			if !replicatest.Holds(t, r, n) {
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
		replicatest.Shut(t, r)
		fs, acked, next = clone, before, next+100
	}
}

// TestInterruptedBootstrap cuts the power at every fsync of the very first
// start: the next one always works.
func TestInterruptedBootstrap(t *testing.T) {
	t.Parallel()
	fs := replicatest.Crashable(t)
	var mu sync.Mutex
	var clones []*losstest.Mem
	spy := replicatest.SyncSpy{FS: fs, Mu: &mu, After: func() {
		clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{}))
	}}
	r := replicatest.At(t, spy, "data")
	replicatest.Shut(t, r)
	if len(clones) < 10 {
		t.Fatalf("only %d fsyncs were seen", len(clones))
	}
	for i, clone := range clones {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := replicatest.At(t, clone, "data")
			replicatest.Begin(t, r)
			replicatest.Shut(t, r)
		})
	}
}
