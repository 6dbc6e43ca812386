package cluster

import (
	"testing"
	"time"
)

// fakeLoad runs a load over the fake while node 2 goes, the way that drain says.
func fakeLoad(t *testing.T, plant planted, drain time.Duration) *load {
	t.Helper()
	_, seed := chance(t)
	f := newFake(t, 3, seed, plant)
	r, err := f.manage(time.Second, 0, "POST", "/v1/keys", map[string]any{})
	if err != nil || r.status != 200 {
		t.Fatal(r, err)
	}
	b := newBalancer(f.target.nodes)
	defer b.close()
	await(t, 5*time.Second, "the balancer to see all nodes", func() error { return missing(b, 3) })
	l := startLoad(300, []string{r.str("key")}, b.pick)
	pause(nil, 200*time.Millisecond)
	f.nodes[1].ready.Store(false)
	pause(nil, drain)
	f.nodes[1].server.Close()
	pause(nil, 300*time.Millisecond)
	l.end()
	t.Log(l)
	return l
}

// A node that says beforehand that it goes costs no request.
func TestLoadSeesNoFailureOfADrain(t *testing.T) {
	l := fakeLoad(t, planted{}, time.Second)
	if n := len(l.failed()); n != 0 || l.sent < 200 {
		t.Errorf("%d of %d failed", n, l.sent)
	}
}

// One that does not is seen.
func TestLoadSeesFailures(t *testing.T) {
	if l := fakeLoad(t, planted{dropsOnStop: true}, time.Second); len(l.failed()) == 0 {
		t.Error("a node that drops requests went unseen")
	}
	if l := fakeLoad(t, planted{}, 0); len(l.failed()) == 0 {
		t.Error("a node that goes without a word went unseen")
	}
}

// hammer counts what it is answered, right and wrong.
func TestHammer(t *testing.T) {
	_, seed := chance(t)
	f := newFake(t, 3, seed, planted{doubtful: 10})
	var addrs, requests []string
	for _, n := range f.target.nodes {
		addrs = append(addrs, n.admin)
		requests = append(requests, rawRequest("POST", n.admin, "/v1/keys", "op", "{}"))
	}
	s := hammer(t, 6, 300*time.Millisecond, addrs, requests, 200)
	if s.rate < 50 || s.bad == 0 || s.p50 <= 0 || s.p99 < s.p50 {
		t.Errorf("%+v", s)
	}
}
