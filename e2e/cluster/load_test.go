package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// balancer sends to ready nodes in turn, as a plain load balancer does: it asks
// every node's /readyz five times a second and repeats nothing.
type balancer struct {
	nodes []endpoint
	up    []atomic.Bool
	turn  atomic.Uint64
	stop  chan struct{}
	wg    sync.WaitGroup
}

const (
	probeEvery = 200 * time.Millisecond
	probeLimit = 200 * time.Millisecond
)

func newBalancer(nodes []endpoint) *balancer {
	b := &balancer{nodes: nodes, up: make([]atomic.Bool, len(nodes)), stop: make(chan struct{})}
	for i, n := range nodes {
		b.wg.Go(func() {
			for {
				r, err := within(probeLimit, "GET", n.proxy+"/readyz", nil, nil)
				b.up[i].Store(err == nil && r.StatusCode == 200)
				if !harness.Pause(b.stop, probeEvery) {
					return
				}
			}
		})
	}
	return b
}

func (b *balancer) close() {
	close(b.stop)
	b.wg.Wait()
}

// ready tells how many nodes get requests.
func (b *balancer) ready() (n int) {
	for i := range b.up {
		if b.up[i].Load() {
			n++
		}
	}
	return n
}

// pick is the next node; ok is false if none is ready.
func (b *balancer) pick() (n endpoint, ok bool) {
	turn := int(b.turn.Add(1))
	for i := range b.nodes {
		if j := (turn + i) % len(b.nodes); b.up[j].Load() {
			return b.nodes[j], true
		}
	}
	return endpoint{}, false
}

// among picks from fixed nodes in turn, ready or not.
func among(nodes ...endpoint) func() (endpoint, bool) {
	var turn atomic.Uint64
	return func() (endpoint, bool) { return nodes[int(turn.Add(1))%len(nodes)], true }
}

// failure is a request that a client would complain about.
type failure struct {
	at   time.Duration // since the load began
	node string
	what string
}

// load sends requests at a fixed rate, answered or not.
type load struct {
	rate int // a second
	keys []string
	pick func() (endpoint, bool)

	began    time.Time
	client   *http.Client
	stop     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	sent     int
	failures []failure
	took     []time.Duration
}

// requestLimit bounds one request; no client waits longer.
const requestLimit = 5 * time.Second

func startLoad(rate int, keys []string, pick func() (endpoint, bool)) *load {
	l := &load{rate: rate, keys: keys, pick: pick, client: harness.NewClient(dialLimit), began: time.Now(), stop: make(chan struct{})}
	l.wg.Go(func() {
		for i := 0; ; i++ {
			due := l.began.Add(time.Duration(i) * time.Second / time.Duration(l.rate))
			if !harness.Pause(l.stop, time.Until(due)) {
				return
			}
			l.wg.Go(func() { l.fire(i) })
		}
	})
	return l
}

// fire sends request i and records its answer.
func (l *load) fire(i int) {
	n, ok := l.pick()
	from := time.Now()
	what := "no node is ready"
	if ok {
		what = l.send(n, l.keys[i%len(l.keys)])
	}
	took := time.Since(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.took = append(l.took, took)
	if what != "" {
		l.failures = append(l.failures, failure{from.Sub(l.began), n.name, fmt.Sprintf("%s after %v", what, took.Round(time.Millisecond))})
	}
}

// send makes one request and returns the fault of its answer. Go's client
// sends a GET again by itself when a kept connection breaks; that is a failure
// here, for other clients do not.
func (l *load) send(n endpoint, key string) string {
	ctx, cancel := context.WithTimeout(context.Background(), requestLimit)
	defer cancel()
	connections := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { connections++ }})
	req, err := http.NewRequestWithContext(ctx, "GET", n.proxy+"/load", nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := l.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "body: " + err.Error()
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprintf("%d %.200s", resp.StatusCode, body)
	case connections > 1:
		return "the connection broke and the request was sent twice"
	}
	return ""
}

// end stops the load and waits for the requests in flight.
func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
	l.client.CloseIdleConnections()
}

// failed returns the failures so far.
func (l *load) failed() []failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failures)
}

func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests in %v, %d failed, p50 %v, p99 %v", l.sent, time.Since(l.began).Round(time.Second), len(l.failures),
		quantile(l.took, 0.5), quantile(l.took, 0.99))
	for _, f := range l.failures[:min(20, len(l.failures))] {
		fmt.Fprintf(&b, "\n  at %v on %s: %s", f.at.Round(time.Millisecond), f.node, f.what)
	}
	return b.String()
}

// quantile of measured times, rounded for people.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(10 * time.Microsecond)
}

// missing is nil when the balancer sends to n nodes.
func missing(b *balancer, n int) error {
	if r := b.ready(); r != n {
		return fmt.Errorf("it sends to %d nodes, not %d", r, n)
	}
	return nil
}
