package nodetest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/client"
)

// The configuration of every cluster, unless a test says otherwise.
const (
	Secret = "a-cluster-secret-of-tests-0123456789"
	Token  = "pg_operator_token_of_tests"
	Lease  = 2 * time.Second // one that a loaded machine does not lose
	Port   = 7000            // of the cluster listeners

	DiskLimit = 20 * time.Second // see [Setup]
)

// Timeout bounds every wait that has no bound of its own. It is far more than a
// node needs: it ends a test that would never end, and a machine on which other
// programs run may take its time.
const Timeout = 90 * time.Second

// Election is the time without contact after which a node here stands for election
// or a leader gives up, twice that of the product: a loaded machine that keeps a
// node waiting for the processor must not cost it leadership in the middle of a
// test. The tests with processes (e2e/cluster) run with the product's.
const Election = time.Second

// Setup is the configuration of one node. A change takes effect at its next start.
type Setup struct {
	Name   string
	Listen string // of the cluster; "" is a lone node
	Join   []string
	Expect int
	Secret string
	Lease  time.Duration
	Serve  bool // cluster.when_isolated = "serve"
	File   string
	Tune   func(*raft.Config)
	Level  string // of the log; "" is the default
	Files  vfs.FS // nil is the machine's
	// DiskLimit is the time that the disk may take for an operation. A good disk of a
	// loaded machine may take longer than the product allows.
	DiskLimit time.Duration
	// Rots says that the test harms the node's files: an end that reports it fails no test.
	Rots bool
	// Applying may replace entries of the log before they are applied.
	Applying func([]*raft.Log)
}

// Cluster is a number of nodes, the network between them and their upstream.
type Cluster struct {
	*Net
	Nodes    []*Node
	Upstream *Upstream

	t    testing.TB
	id   string // label of its goroutines
	http *http.Client
}

// Option changes the setup of all nodes before any is started.
type Option func(i int, s *Setup)

// WithLease sets cluster.lease.
func WithLease(d time.Duration) Option { return func(_ int, s *Setup) { s.Lease = d } }

// Serving sets cluster.when_isolated = "serve".
func Serving() Option { return func(_ int, s *Setup) { s.Serve = true } }

// WithTune changes Raft's configuration.
func WithTune(f func(*raft.Config)) Option { return func(_ int, s *Setup) { s.Tune = f } }

// New makes a cluster of n nodes of which none is started. When the test ends
// they are ended, and a goroutine of theirs that is left fails it.
func New(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{Net: NewNet(), t: t, id: fmt.Sprintf("%s#%d", t.Name(), serial.Add(1))}
	c.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: Timeout}
	t.TempDir() // it is removed after the cleanups that are registered from now on
	t.Cleanup(c.end)
	c.Upstream = newUpstream()
	var all []string
	for i := range n {
		all = append(all, Address(i, Port))
	}
	for i := range n {
		s := Setup{Name: fmt.Sprintf("n%d", i+1), Listen: all[i], Join: all, Expect: n, Secret: Secret, Lease: Lease, DiskLimit: DiskLimit}
		if n == 1 {
			s.Join, s.Expect = nil, 1
		}
		for _, o := range opts {
			o(i, &s)
		}
		c.Nodes = append(c.Nodes, newNode(c, i, s, t.TempDir()))
	}
	return c
}

// Start makes a cluster of n nodes and returns when all of them serve and have a
// vote.
func Start(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c := New(t, n, opts...)
	for _, node := range c.Nodes {
		node.Start()
	}
	c.WaitHealthy()
	return c
}

// Add makes one more node, configured to join the others. It is not started.
func (c *Cluster) Add() *Node {
	i := len(c.Nodes)
	s := Setup{Name: fmt.Sprintf("n%d", i+1), Listen: Address(i, Port), Expect: 1, Secret: Secret, Lease: Lease, DiskLimit: DiskLimit}
	for _, n := range c.Nodes {
		s.Join = append(s.Join, n.Setup.Listen)
	}
	c.Nodes = append(c.Nodes, newNode(c, i, s, c.t.TempDir()))
	return c.Nodes[i]
}

// Kill crashes node i: see the package's documentation.
func (c *Cluster) Kill(i int) { c.t.Helper(); c.Nodes[i].Kill() }

// Stop ends node i in good order.
func (c *Cluster) Stop(i int) { c.t.Helper(); c.Nodes[i].Stop() }

// Restart starts node i, stopped in good order if it runs.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.Nodes[i].Stop()
	c.Nodes[i].Start()
}

// Wipe empties node i's data directory; it is killed if it runs.
func (c *Cluster) Wipe(i int) { c.t.Helper(); c.Nodes[i].Wipe() }

// API is a client of node i's management API that shows the operator's token.
func (c *Cluster) API(i int) *client.Client { c.t.Helper(); return c.Nodes[i].API() }

// Leader waits until a node that runs reports that it leads, and returns its
// number.
func (c *Cluster) Leader() int {
	c.t.Helper()
	leader := -1
	c.Until("there is a leader", func() error {
		leader = -1
		for i, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			s, err := n.API().Cluster(ctx)
			cancel()
			if err == nil && s.Leader == n.Setup.Name {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("no node reports that it leads")
	})
	return leader
}

// Follower returns a node that runs, does not lead and is none of not.
func (c *Cluster) Follower(not ...int) int {
	c.t.Helper()
	leader := c.Leader()
next:
	for i, n := range c.Nodes {
		for _, j := range not {
			if i == j {
				continue next
			}
		}
		if i != leader && n.Running() {
			return i
		}
	}
	c.t.Fatal("there is no such follower")
	return -1
}

// WaitReady waits until the nodes, all that run by default, serve.
func (c *Cluster) WaitReady(nodes ...int) {
	c.t.Helper()
	if len(nodes) == 0 {
		for i, n := range c.Nodes {
			if n.Running() {
				nodes = append(nodes, i)
			}
		}
	}
	for _, i := range nodes {
		n := c.Nodes[i]
		c.Until(n.Setup.Name+" is ready", func() error {
			if err := n.Failed(); err != nil {
				return err
			}
			h, err := n.open().Readyz(context.Background())
			if err == nil && h.Status != "ok" {
				err = fmt.Errorf("/readyz: %s", *h.Reason)
			}
			return err
		})
	}
}

// WaitHealthy waits until all nodes that run serve, vote and report themselves
// healthy.
func (c *Cluster) WaitHealthy() {
	c.t.Helper()
	c.WaitReady()
	running := 0
	for _, n := range c.Nodes {
		if n.Running() {
			running++
		}
	}
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		c.Until(n.Setup.Name+" reports a healthy cluster", func() error {
			s, err := n.API().Cluster(context.Background())
			if err == nil && !s.Healthy {
				err = fmt.Errorf("%s", strings.Join(s.Reasons, "; "))
			}
			if err == nil && len(s.Nodes) < running {
				err = fmt.Errorf("it knows %d nodes", len(s.Nodes))
			}
			return err
		})
	}
}

// end kills the nodes that run and looks for goroutines of theirs that are left.
func (c *Cluster) end() {
	if c.t.Failed() {
		for _, n := range c.Nodes {
			if err := n.Failed(); err != nil {
				c.t.Logf("%s has ended: %v", n.Setup.Name, err)
			}
			c.t.Logf("log of %s, the last lines:\n%s", n.Setup.Name, n.Log.tail(60))
		}
	}
	var all sync.WaitGroup
	for _, n := range c.Nodes {
		all.Go(n.kill)
	}
	all.Wait()
	c.http.CloseIdleConnections()
	c.Upstream.close()
	if left := leaked(c.id, Timeout); left != "" {
		c.t.Errorf("goroutines of the nodes are left:\n%s", left)
	}
}

// Until waits until ok returns nil; if that takes too long the test fails with
// the event that ok waits for and the last error.
func (c *Cluster) Until(event string, ok func() error) {
	c.t.Helper()
	c.Within(Timeout, event, ok)
}

// Within is [Cluster.Until] with a bound of its own.
func (c *Cluster) Within(d time.Duration, event string, ok func() error) {
	c.t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-end.C:
			c.t.Fatalf("waited %v until %s: %v", d, event, err)
		case <-tick.C:
		}
	}
}

// Key makes a live key on node i. An election may be under way.
func (c *Cluster) Key(i int, name string) (id, key string) {
	c.t.Helper()
	c.Until(fmt.Sprintf("key %s is created on %s", name, c.Nodes[i].Setup.Name), func() error {
		k, err := c.API(i).CreateKey(context.Background(), client.NewKey{Name: name, Type: "live"})
		if err == nil {
			id, key = k.ID, *k.Secret
		}
		return err
	})
	return id, key
}

// Upstream answers every request with 200; /stream sends a line every 50 ms for
// as long as it may.
type Upstream struct {
	*httptest.Server
	stop chan struct{}
}

func newUpstream() *Upstream {
	u := &Upstream{stop: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello")
		if r.URL.Path != "/stream" {
			return
		}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
				fmt.Fprintln(w, "tick")
			case <-r.Context().Done():
				return
			case <-u.stop:
				return
			}
		}
	}))
	return u
}

func (u *Upstream) close() {
	close(u.stop)
	u.Server.CloseClientConnections()
	u.Server.Close()
}
