package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// trio is three processes that form a cluster, and an upstream that counts what reaches it.
type trio struct {
	t        *testing.T
	nodes    []*server
	upstream *httptest.Server

	mu      sync.Mutex
	arrived []time.Time
}

const sharedToken = "pg_operator_token_of_the_shared_tests"

func startTrio(t *testing.T) *trio {
	c := &trio{t: t}
	c.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		at := time.Now()
		c.mu.Lock()
		c.arrived = append(c.arrived, at)
		c.mu.Unlock()
		w.Write([]byte("ok"))
	}))
	t.Cleanup(c.upstream.Close)
	addrs := freeAddrs(t, 3)
	for i, a := range addrs {
		s := prepare(t, options{
			upstream: c.upstream.URL,
			env:      []string{"PERFGATE_CLUSTER_SECRET=a-cluster-secret-of-tests-0123456789", "PERFGATE_OPERATOR_TOKEN=" + sharedToken},
			args:     []string{"--name", fmt.Sprintf("n%d", i+1), "--cluster-listen", a, "--join", strings.Join(addrs, ","), "--expect", "3"},
		})
		s.operator = sharedToken
		s.Begin()
		c.nodes = append(c.nodes, s)
	}
	for _, s := range c.nodes {
		c.ready(s)
	}
	return c
}

// freeAddrs are addresses that are free at this moment.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func (c *trio) ready(s *server) {
	c.t.Helper()
	if err := harness.Poll(2*startTimeout, "a node to be ready", s.ready); err != nil {
		c.t.Fatalf("%v\n%s", err, s.Output())
	}
}

// key makes an account with a limit, and a key of it.
func (c *trio) key(perMinute, burst int) string {
	limits := map[string]any{"requests_per_minute": perMinute, "burst": burst, "requests_per_month": 10_000_000}
	r := c.nodes[0].manage(201, "POST", "/v1/accounts", map[string]any{"name": "shared", "tier": "enterprise", "limits": limits})
	h := as(sharedToken)
	h["X-Perf-Account"] = r.Str("id")
	if r = do(c.t, "POST", c.nodes[0].admin+"/v1/keys", h, map[string]any{"name": "k", "type": "live"}); r.StatusCode != 201 {
		c.t.Fatal(r)
	}
	return r.Str("key")
}

// hammer calls a node as fast as it answers until stop is closed; calls that fail because
// the node is away are made again.
func (c *trio) hammer(i int, key string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if r, err := try("GET", c.nodes[i].proxy+"/", as(key), nil); err != nil || r.StatusCode == 503 {
			harness.Pause(stop, 20*time.Millisecond)
		}
	}
}

// check compares what the upstream has counted with the limit, at each arrival.
func (c *trio) check(from time.Time, perMinute, burst float64) (n int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, at := range c.arrived {
		if most := burst + perMinute*at.Sub(from).Minutes(); float64(i+1) > most {
			c.t.Fatalf("%d requests have reached the upstream after %v, at most %.1f may", i+1, at.Sub(from), most)
		}
	}
	return len(c.arrived)
}

// Three processes admit what one bucket would, also while one is killed and one is stopped.
func TestClusterNeverAdmitsMore(t *testing.T) {
	c := startTrio(t)
	const perMinute, burst = 600, 60
	key := c.key(perMinute, burst)
	from := time.Now()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range 3 {
		for range 2 {
			all.Go(func() { c.hammer(i, key, stop) })
		}
	}
	wait := func(more int, event string) {
		t.Helper()
		least := c.check(from, perMinute, burst) + more
		waitFor(t, event, func() bool { return c.check(from, perMinute, burst) >= least })
	}
	wait(burst+20, "the burst and two seconds' rate to pass")
	if n, took := c.check(from, perMinute, burst), time.Since(from); float64(n) < .8*(burst+perMinute*took.Minutes()) {
		t.Errorf("only %d have passed in %v", n, took)
	}
	c.nodes[2].Kill()
	wait(20, "requests to pass with a node killed")
	c.nodes[1].Signal(syscall.SIGSTOP)
	harness.Pause(nil, 7*time.Second) // longer than leases and loans
	c.nodes[1].Signal(syscall.SIGCONT)
	wait(20, "requests to pass with the stopped node back")
	c.nodes[2].Begin()
	wait(40, "requests to pass with all nodes")
	close(stop)
	all.Wait()
	t.Logf("%d requests in %v", c.check(from, perMinute, burst), time.Since(from))
}

// A client below its limit is not refused, whichever node it asks.
func TestClusterRefusesNobodyBelowTheLimit(t *testing.T) {
	c := startTrio(t)
	const perMinute, burst = 1200, 60
	key := c.key(perMinute, burst)
	from := time.Now()
	for i := range 45 { // of the burst, at one node, although it owns 20
		if r := do(t, "GET", c.nodes[1].proxy+"/", as(key), nil); r.StatusCode != 200 {
			t.Fatalf("request %d of the burst: %s", i, r)
		}
	}
	tick := time.NewTicker(62500 * time.Microsecond) // 80 % of the limit
	defer tick.Stop()
	var all sync.WaitGroup
	var refused atomic.Int64
	for i := range 160 {
		<-tick.C
		all.Go(func() {
			if r, err := try("GET", c.nodes[i/20%3].proxy+"/", as(key), nil); err != nil || r.StatusCode != 200 {
				refused.Add(1)
				t.Logf("request %d: %v %v", i, r, err)
			}
		})
	}
	all.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d of 160 requests were refused", n)
	}
	c.check(from, perMinute, burst)
}
