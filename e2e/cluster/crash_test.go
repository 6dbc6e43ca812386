package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// ledger holds the acknowledged writes, which must be true on every node for ever.
type ledger struct {
	c     *cluster
	mu    sync.Mutex
	state map[string]string // by id
	fresh []string          // ids that no verify has seen yet
}

func record(c *cluster) *ledger {
	c.t.Helper()
	c.roomy()
	return &ledger{c: c, state: map[string]string{}}
}

func (w *ledger) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.state)
}

func (w *ledger) set(id, state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state[id] = state
	w.fresh = append(w.fresh, id)
}

// make writes once through node i: a key, and every third time its revocation.
func (w *ledger) make(i, n int) {
	r, err := w.c.manage(writeLimit, i, "POST", "/v1/keys", map[string]any{"name": "ledger", "type": "live"})
	if err != nil || r.StatusCode != 201 {
		return
	}
	id := r.Str("id")
	w.set(id, stActive)
	if n%3 != 0 {
		return
	}
	w.set(id, "") // either is right until the answer
	if r, err = w.c.manage(writeLimit, i, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "ledger"}); err == nil && r.StatusCode == 200 {
		w.set(id, stRevoked)
	}
}

// begin has clients write through all nodes until the returned function is called.
func (w *ledger) begin(clients int) (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for n := client; harness.Pause(stop, time.Millisecond); n++ {
				w.make(n%len(w.c.nodes), n)
			}
		})
	}
	return func() { close(stop); wg.Wait() }
}

// some waits until n more keys have been acknowledged.
func (w *ledger) some(t testing.TB, n int) {
	t.Helper()
	end := w.begin(4)
	defer end()
	goal := w.count() + n
	harness.Await(t, readyLimit, "writes to be acknowledged", func() error {
		if got := w.count(); got < goal {
			return fmt.Errorf("%d of %d", got, goal)
		}
		return nil
	})
}

// verify asks every node for all that has been acknowledged since the last
// time, and for some that are older.
func (w *ledger) verify(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	ids := w.fresh
	w.fresh = nil
	for id := range w.state {
		if len(ids) > 3000 {
			break
		}
		ids = append(ids, id)
	}
	w.mu.Unlock()
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var wg sync.WaitGroup
	for i := range w.c.nodes {
		wg.Go(func() {
			for _, id := range ids {
				want := w.state[id]
				r, err := w.c.manage(writeLimit, i, "GET", "/v1/keys/"+id, nil)
				if err == nil && r.StatusCode == 503 { // an election may be under way
					err = harness.Poll(readyLimit, "an answer", func() (err error) {
						if r, err = w.c.manage(writeLimit, i, "GET", "/v1/keys/"+id, nil); err == nil && r.StatusCode == 503 {
							err = fmt.Errorf("%v", r)
						}
						return err
					})
				}
				if err != nil || r.StatusCode != 200 || want != "" && r.Str("state") != want {
					t.Errorf("%s on node %d is %v, %v; acknowledged was %q", id, i+1, r, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// kill -9 of one, two or all nodes at any moment loses nothing acknowledged.
func TestKills(t *testing.T) {
	processes(t)
	rng, _ := chance(t)
	c := start(t, 3, options{})
	w := record(c)
	slowest := time.Duration(0)
	for round := range amount(4, 20, 350) {
		end := w.begin(8)
		goal := w.count() + 60
		harness.Await(t, readyLimit, "writes under way", func() error {
			if n := w.count(); n < goal {
				return fmt.Errorf("%d of %d keys", n, goal)
			}
			return nil
		})
		victims := rng.Perm(3)[:1+(round+rng.IntN(2))%3]
		for _, i := range victims {
			c.Kill(i)
		}
		harness.Pause(nil, time.Duration(rng.IntN(800))*time.Millisecond)
		from := time.Now()
		for _, i := range victims {
			c.Restart(i)
		}
		c.awaitReady()
		slowest = max(slowest, time.Since(from))
		end()
		w.verify(t)
	}
	t.Logf("%d keys acknowledged; the slowest return to readiness took %v", w.count(), slowest.Round(time.Millisecond))
}

// A node with a full disk acknowledges nothing that is not durable, and works
// again by itself when there is space.
func TestFullDisk(t *testing.T) {
	processes(t)
	needs(t, "mount", "umount")
	disk := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	// On an idle machine a node writes more than 64 MB before the test ends: then its
	// own data, and not the filler, would fill the disk for good.
	if err := command("mount", "-t", "tmpfs", "-o", "size=256M,mode=0700", "tmpfs", disk); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := command("umount", disk); err != nil {
			t.Error(err)
		}
	})
	c := start(t, 3, options{data: func(i int) string {
		if i == 1 {
			return filepath.Join(disk, "data")
		}
		return ""
	}})
	w := record(c)
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprintf("leader %v", leads), func(t *testing.T) {
			if leads {
				c.lead(1)
			} else if c.leader() == 1 {
				c.lead(0)
			}
			w.some(t, 50)
			filler := filepath.Join(disk, "filler")
			fill(t, filler)
			end := w.begin(8)
			harness.Pause(nil, time.Duration(amount(4, 10, 20))*time.Second)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			harness.Pause(nil, time.Second)
			end()
			c.awaitReady() // fails if the process has given up
			w.some(t, 50)
			w.verify(t)
		})
	}
	t.Logf("%d keys acknowledged", w.count())
}

// fill takes all space.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}
