package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// The harness itself, with a lone node: each fault does its work and is undone.
func TestHarness(t *testing.T) {
	processes(t)
	c := start(t, 1, options{lone: true})
	c.roomy()
	id, key := c.create()
	use := func() (*reply, error) { return within(time.Second, "GET", c.nodes[0].proxy+"/x", as(key), nil) }
	if r, err := use(); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	c.Pause(0)
	if r, err := use(); err == nil {
		t.Errorf("a paused node answers: %v", r)
	}
	c.Resume(0)
	c.awaitReady()
	c.Kill(0)
	if _, err := use(); err == nil || !unsent(err) {
		t.Errorf("a killed node: %v", err)
	}
	if err := c.becomeReady(time.Second); err == nil {
		t.Error("a killed node is ready")
	}
	c.Restart(0)
	c.awaitReady()
	if r := c.insist("GET", "/v1/keys/"+id, nil); r.Str("state") != stActive {
		t.Errorf("%v", r)
	}
	c.Stop(0)
	c.Wipe(0)
	if _, err := os.Stat(c.procs[0].Data); err == nil {
		t.Error("the data is still there")
	}
	c.Restart(0)
	c.awaitReady()
	if r, err := c.manage(time.Second, 0, "GET", "/v1/keys/"+id, nil); err != nil || r.StatusCode != 404 {
		t.Errorf("after a wipe: %v, %v", r, err)
	}
	if log := c.logs(1000); strings.Count(log, "--- ") != 3 {
		t.Errorf("three starts, and the log says:\n%s", log)
	}
}

// ring is three lone nodes, each of which is the upstream of the one before it, with a
// key for each.
type ring struct {
	*cluster
	keys [3]string
}

func newRing(t *testing.T) *ring {
	t.Helper()
	r := &ring{cluster: prepare(t, 3, options{lone: true, netns: true})}
	for i, p := range r.procs {
		for j, arg := range p.Argv {
			if arg == "--upstream" {
				p.Argv[j+1] = r.nodes[(i+1)%3].proxy
			}
		}
		p.Begin()
	}
	r.awaitReady()
	for i := range r.keys {
		res, err := r.manage(writeLimit, i, "POST", "/v1/keys", map[string]any{"name": "k", "type": "live"})
		if err != nil || res.StatusCode != 201 {
			t.Fatal(res, err)
		}
		r.keys[i] = res.Str("key")
	}
	return r
}

// ask returns the status of an answer of node i, or "cut".
func (r *ring) ask(i int, path, key string) string {
	res, err := within(500*time.Millisecond, "GET", r.nodes[i].proxy+path, as(key), nil)
	if err != nil {
		return "cut"
	}
	return fmt.Sprint(res.StatusCode)
}

// through asks each node for an answer of the next one. 401: the next node has answered
// that it does not know the credential.
func (r *ring) through() (out [3]string) {
	for i := range out {
		out[i] = r.ask(i, "/x", r.keys[i])
	}
	return out
}

// Cuts stop the traffic between nodes, in the directions meant, and no client.
func TestCuts(t *testing.T) {
	processes(t)
	r := newRing(t)
	want := func(name string, answers ...string) {
		t.Helper()
		if got := r.through(); !slices.Equal(got[:], answers) {
			t.Errorf("%s: %v", name, got)
		}
		for i := range r.nodes {
			if r.ask(i, "/readyz", "pk_none") != "200" {
				t.Errorf("%s: a client does not reach node %d", name, i+1)
			}
		}
	}
	want("whole", "401", "401", "401")
	r.net.Cut(0, 1)
	want("1 and 2 apart", "cut", "401", "401")
	r.net.Heal()
	r.net.CutOneWay(2, 1) // 2 sends to 3, and never hears of it
	want("3 does not reach 2", "401", "cut", "401")
	r.net.Heal()
	r.net.Isolate(2)
	want("3 alone", "401", "cut", "cut")
	r.net.Heal()
	harness.Await(t, 10*time.Second, "all to be well after the last cut", func() error {
		if got := r.through(); got != [3]string{"401", "401", "401"} {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

// strace kills a node at an fsync and holds up its disk, and lets go of it.
func TestDiskFaults(t *testing.T) {
	processes(t)
	needs(t, "strace")
	c := prepare(t, 1, options{lone: true})
	c.procs[0].Begin(strace("signal=KILL:when=2+")...)
	awaitEnd(t, c, 0)
	c.Restart(0)
	c.awaitReady()
	write := func() time.Duration {
		from := time.Now()
		c.manage(3*time.Second, 0, "POST", "/v1/keys", map[string]any{"name": "k", "type": "live"})
		return time.Since(from)
	}
	detach := attach(t, c.procs[0].PID(), "delay_enter=700ms")
	if d := write(); d < 600*time.Millisecond {
		t.Errorf("a write took %v on a disk that takes 700 ms", d)
	}
	detach()
	harness.Await(t, readyLimit, "writes to be fast again", func() error {
		if d := write(); d > 500*time.Millisecond {
			return fmt.Errorf("it took %v", d)
		}
		return nil
	})
	attach(t, c.procs[0].PID(), "signal=KILL:when=3+")
	awaitEnd(t, c, 0)
	c.Restart(0)
	c.awaitReady()
}
