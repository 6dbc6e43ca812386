package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// fakeLoad runs a load over the fake while node 2 goes: with drain only when the
// balancer has seen that it is not ready any more, without in the same moment.
func fakeLoad(t *testing.T, plant planted, drain bool) *load {
	t.Helper()
	_, seed := chance(t)
	f := newFake(t, 3, seed, plant)
	r, err := f.manage(10*time.Second, 0, "POST", "/v1/keys", map[string]any{})
	if err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	b := newBalancer(f.target.nodes)
	defer b.close()
	harness.Await(t, readyLimit, "the balancer to see all nodes", func() error { return missing(b, 3) })
	l := startLoad(300, []string{r.Str("key")}, b.pick)
	harness.Pause(nil, 200*time.Millisecond)
	// The node goes right after a probe: the balancer sends to it until the next one.
	last := f.nodes[1].probes.Load()
	harness.Await(t, readyLimit, "a probe of the node", func() error {
		if f.nodes[1].probes.Load() == last {
			return errors.New("none yet")
		}
		return nil
	})
	f.nodes[1].ready.Store(false)
	if drain {
		harness.Await(t, readyLimit, "the balancer to see that a node goes", func() error { return missing(b, 2) })
		harness.Pause(nil, 200*time.Millisecond) // requests that it had sent before are answered
	}
	f.nodes[1].server.Close()
	harness.Pause(nil, 300*time.Millisecond)
	l.end()
	t.Log(l)
	return l
}

// A node that says beforehand that it goes costs no request.
func TestLoadSeesNoFailureOfADrain(t *testing.T) {
	l := fakeLoad(t, planted{}, true)
	if n := len(l.failed()); n != 0 || l.sent < 200 {
		t.Errorf("%d of %d failed", n, l.sent)
	}
}

// One that does not is seen.
func TestLoadSeesFailures(t *testing.T) {
	if l := fakeLoad(t, planted{dropsOnStop: true}, true); len(l.failed()) == 0 {
		t.Error("a node that drops requests went unseen")
	}
	if l := fakeLoad(t, planted{}, false); len(l.failed()) == 0 {
		t.Error("a node that goes without a word went unseen")
	}
}

// hammer counts its answers, right and wrong.
func TestHammer(t *testing.T) {
	_, seed := chance(t)
	f := newFake(t, 3, seed, planted{doubtful: 10})
	var addrs, requests []string
	for _, n := range f.target.nodes {
		addrs = append(addrs, n.admin)
		requests = append(requests, harness.RawRequest("POST", n.admin, "/v1/keys", "op", "{}"))
	}
	s := hammer(t, 6, time.Second, addrs, requests, 200)
	if s.rate < 50 || s.bad == 0 || s.p50 <= 0 || s.p99 < s.p50 {
		t.Errorf("%+v", s)
	}
}
