package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

const operatorToken = "op_cluster_e2e_0123456789abcdef"

// leaseLength is the serving lease, cluster.lease's default.
const leaseLength = 5 * time.Second

// options of start.
type options struct {
	netns  bool               // a namespace per node: partitions are possible
	lone   bool               // one node without any cluster flag
	args   []string           // further flags, of every node
	config string             // further TOML, of every node
	data   func(i int) string // data directory of a node; nil or "": a fresh one
	wrap   map[int][]string   // put before a node's command line, for the first start
	upNext func(i int) string // upstream of node i; nil: one that says ok
}

// cluster is a number of running nodes.
type cluster struct {
	target
	t        testing.TB
	o        options
	dir      string
	procs    []*harness.Process
	net      *network // nil on plain loopback
	peers    []string // cluster addresses of the first nodes
	secret   string
	upstream string
}

// start builds perfgate, starts n nodes and returns when all are ready and vote.
func start(t testing.TB, n int, o options) *cluster {
	t.Helper()
	c := prepare(t, n, o)
	for i, p := range c.procs {
		p.Begin(o.wrap[i]...)
	}
	c.awaitReady()
	c.awaitVoters()
	return c
}

// prepare does all that start does before the processes run.
func prepare(t testing.TB, n int, o options) *cluster {
	t.Helper()
	harness.Binary(t)
	c := &cluster{t: t, o: o, dir: t.TempDir(), secret: rand.Text() + rand.Text()}
	c.operator = operatorToken
	host := "127.0.0.1"
	if o.netns {
		c.net = newNetwork(t)
		host = c.net.outside()
	}
	c.upstream = serveUpstream(t, host)
	for range n {
		c.place()
	}
	for i := range n {
		c.equip(i, n)
	}
	t.Cleanup(c.end)
	return c
}

// end kills every process and, if the test failed, shows their output.
func (c *cluster) end() {
	for _, p := range c.procs {
		p.Kill()
	}
	if c.t.Failed() {
		c.t.Log(c.logs(60))
	}
}

func (c *cluster) logs(lines int) string {
	var b strings.Builder
	for _, p := range c.procs {
		b.WriteString(p.Tail(lines))
	}
	return b.String()
}

// place finds addresses for one more node.
func (c *cluster) place() {
	c.t.Helper()
	i := len(c.nodes)
	var proxy, admin, peer string
	if c.net != nil {
		host := c.net.add()
		proxy, admin, peer = host+":8080", host+":8081", host+":7946"
	} else {
		proxy, admin, peer = freePort(c.t), freePort(c.t), freePort(c.t)
	}
	c.nodes = append(c.nodes, endpoint{fmt.Sprint("n", i+1), "http://" + proxy, "http://" + admin})
	c.peers = append(c.peers, peer)
}

// equip makes node i's files and command line; expect is the number of nodes
// that form the cluster.
func (c *cluster) equip(i, expect int) {
	c.t.Helper()
	n := c.nodes[i]
	p := &harness.Process{T: c.t, Name: n.name, Dir: filepath.Join(c.dir, n.name), LogPath: filepath.Join(c.dir, n.name+".log")}
	p.Data = filepath.Join(p.Dir, "data")
	if c.o.data != nil {
		if dir := c.o.data(i); dir != "" {
			p.Data = dir
		}
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	config := filepath.Join(p.Dir, "perfgate.toml")
	if err := os.WriteFile(config, []byte("[admin]\ninsecure = true\n"+c.o.config), 0o600); err != nil {
		c.t.Fatal(err)
	}
	upstream := c.upstream
	if c.o.upNext != nil {
		upstream = c.o.upNext(i)
	}
	serve := []string{harness.Binary(c.t), "serve", "--config", config, "--name", n.name, "--data-dir", p.Data,
		"--proxy-listen", strings.TrimPrefix(n.proxy, "http://"), "--admin-listen", strings.TrimPrefix(n.admin, "http://"),
		"--upstream", upstream, "--trusted-proxies", "127.0.0.0/8,10.201.0.0/16"}
	p.Env = harness.Environment("PERFGATE_OPERATOR_TOKEN=" + operatorToken)
	if !c.o.lone {
		serve = append(serve, "--cluster-listen", c.peers[i], "--cluster-advertise", c.peers[i],
			"--join", strings.Join(c.peers, ","), "--expect", fmt.Sprint(expect))
		p.Env = append(p.Env, "PERFGATE_CLUSTER_SECRET="+c.secret)
	}
	p.Argv = append(serve, c.o.args...)
	if c.net != nil {
		p.Argv = append([]string{"ip", "netns", "exec", c.net.space(i)}, p.Argv...)
	}
	c.procs = append(c.procs, p)
}

// Add starts one more node, which joins the others, and returns its number. It
// does not wait for it.
func (c *cluster) Add() int {
	c.t.Helper()
	expect := len(c.procs)
	c.place()
	c.equip(expect, expect)
	c.procs[expect].Begin()
	return expect
}

// Kill ends node i as a crash does.
func (c *cluster) Kill(i int) { c.procs[i].Kill() }

// Stop ends node i with SIGTERM; its exit code must be 0.
func (c *cluster) Stop(i int) {
	c.t.Helper()
	if err := terminate(c.procs[i]); err != nil {
		c.t.Fatal(err)
	}
}

// Restart starts node i, which does not run, again; it does not wait.
func (c *cluster) Restart(i int, wrap ...string) { c.t.Helper(); c.procs[i].Begin(wrap...) }

func (c *cluster) Pause(i int)  { c.t.Helper(); c.procs[i].Signal(syscall.SIGSTOP) }
func (c *cluster) Resume(i int) { c.t.Helper(); c.procs[i].Signal(syscall.SIGCONT) }

// Wipe removes the data of node i, which must not run.
func (c *cluster) Wipe(i int) {
	c.t.Helper()
	if c.procs[i].Running() {
		c.t.Fatalf("%s is running: its data is in use", c.procs[i].Name)
	}
	if err := os.RemoveAll(c.procs[i].Data); err != nil {
		c.t.Fatal(err)
	}
}

// awaitReady waits until the named nodes, or else all, are ready.
func (c *cluster) awaitReady(nodes ...int) {
	c.t.Helper()
	if err := c.becomeReady(readyLimit, nodes...); err != nil {
		c.t.Fatalf("%v\n%s", err, c.logs(60))
	}
}

// awaitVoters waits until every node votes: a node serves before it does, and
// until then the cluster survives no loss.
func (c *cluster) awaitVoters() {
	c.t.Helper()
	if c.o.lone {
		return
	}
	harness.Await(c.t, readyLimit, "every node to vote", func() error {
		r, err := c.manage(2*time.Second, 0, "GET", "/v1/cluster", nil)
		if err != nil {
			return err
		}
		voters := 0
		nodes, _ := r.At("nodes").([]any)
		for _, n := range nodes {
			if m, _ := n.(map[string]any); m["role"] == "voter" || m["role"] == "leader" {
				voters++
			}
		}
		if voters < len(c.procs) {
			return fmt.Errorf("%d of %d do: %v", voters, len(c.procs), r)
		}
		return nil
	})
}

func (c *cluster) becomeReady(limit time.Duration, nodes ...int) error {
	if len(nodes) == 0 {
		for i := range c.procs {
			nodes = append(nodes, i)
		}
	}
	var ended error
	err := harness.Poll(limit, "every node to be ready", func() error {
		var all error
		for _, i := range nodes {
			err := ready(c.procs[i], c.nodes[i].admin)
			if errors.Is(err, harness.ErrEnded) {
				ended = err
				return nil // waiting longer does not help
			}
			all = errors.Join(all, err)
		}
		return all
	})
	if ended != nil {
		return ended
	}
	return err
}

// revive starts the nodes again that have ended, as a supervisor would, and
// returns their names.
func (c *cluster) revive() (ended []string) {
	c.t.Helper()
	for _, p := range c.procs {
		if !p.Running() {
			ended = append(ended, p.Name)
			p.Begin()
		}
	}
	return ended
}

// Leader returns the number of the node that leads by the newest term any node
// knows of.
func (c *cluster) Leader() (int, error) {
	best, term, why := -1, -1.0, errors.New("no node knows a leader")
	for i, p := range c.procs {
		if !p.Running() {
			continue
		}
		r, err := c.manage(2*time.Second, i, "GET", "/v1/cluster", nil)
		if err != nil || r.StatusCode != 200 {
			why = fmt.Errorf("%s: %v %v", p.Name, r, err)
			continue
		}
		for j, n := range c.nodes {
			if n.name == r.Str("leader") && r.Num("term") > term {
				best, term = j, r.Num("term")
			}
		}
	}
	if best < 0 {
		return -1, why
	}
	return best, nil
}

// leader waits until there is one.
func (c *cluster) leader() int {
	c.t.Helper()
	leader := -1
	harness.Await(c.t, readyLimit, "a leader", func() (err error) {
		leader, err = c.Leader()
		return err
	})
	return leader
}

// lead makes node i the leader. The target is named: the cluster's own choice
// depends on the order in which the nodes joined and may never fall on node i.
func (c *cluster) lead(i int) {
	c.t.Helper()
	harness.Await(c.t, readyLimit, c.procs[i].Name+" to lead", func() error {
		leader, err := c.Leader()
		if err != nil || leader == i {
			return err
		}
		r, err := c.manage(writeLimit, leader, "POST", "/v1/cluster/transfer-leadership", map[string]any{"to": c.procs[i].Name})
		if err != nil {
			return err
		}
		if r.StatusCode != 200 {
			return fmt.Errorf("%v", r)
		}
		return fmt.Errorf("node %d leads", leader+1)
	})
}

// follower returns a node that does not lead.
func (c *cluster) follower() int { return (c.leader() + 1) % len(c.procs) }

// insist makes a management call that must succeed in the end: a 503 is
// repeated through the next node. It is for preparations, not for proofs.
func (c *cluster) insist(method, path string, body any) *reply {
	c.t.Helper()
	var r *reply
	i := 0
	harness.Await(c.t, readyLimit, method+" "+path+" to succeed", func() error {
		var err error
		i++
		if r, err = c.manage(writeLimit, i%len(c.nodes), method, path, body); err != nil {
			return err
		}
		if r.StatusCode >= 300 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	return r
}

// roomy gives the default account limits that no test reaches.
func (c *cluster) roomy() {
	c.t.Helper()
	c.insist("PATCH", "/v1/accounts/default", map[string]any{"tier": "enterprise",
		"limits": map[string]any{"requests_per_minute": 100_000_000, "requests_per_month": 100_000_000_000}})
}

// create makes a live key.
func (c *cluster) create() (id, key string) {
	c.t.Helper()
	r := c.insist("POST", "/v1/keys", map[string]any{"name": "cluster", "type": "live"})
	return r.Str("id"), r.Str("key")
}

// serveUpstream serves the upstream of the proxies.
func serveUpstream(t testing.TB, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}
