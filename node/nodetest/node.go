package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node"
	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/config"
)

var serial atomic.Int64

// Node is one node of a cluster, whether it runs or not.
type Node struct {
	Setup Setup
	Dir   string // its data directory
	Log   *Log   // over all its starts

	c *Cluster
	i int

	mu   sync.Mutex
	life *life // nil while it does not run
}

// life is one start of a node.
type life struct {
	*Log         // of this start
	cancel       context.CancelFunc
	opened       chan struct{} // closed when Open has returned
	done         chan struct{} // closed when all is over
	node         *node.Node    // set before opened is closed
	err          error         // set before done is closed
	exit         chan int
	killed       atomic.Bool
	proxy, admin string
	clock        *clock.Clock
}

func newNode(c *Cluster, i int, s Setup, dir string) *Node {
	return &Node{Setup: s, Dir: filepath.Join(dir, "data"), Log: newLog(), c: c, i: i}
}

// args and env configure the node as a command line does.
func (n *Node) args() []string {
	s := n.Setup
	file := filepath.Join(filepath.Dir(n.Dir), "perfgate.toml")
	isolated := "refuse"
	if s.Serve {
		isolated = "serve"
	}
	text := fmt.Sprintf("[proxy]\nshutdown_delay = \"0s\"\ndrain = \"1s\"\n\n[accounts]\ndefault_tier = \"enterprise\"\n\n[cluster]\nlease = %q\nwhen_isolated = %q\n%s\n", s.Lease, isolated, s.File)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.c.t.Fatal(err)
	}
	args := []string{
		"--config", file, "--name", s.Name, "--data-dir", n.Dir, "--log-format", "json", "--upstream", n.c.Upstream.URL,
		"--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}
	if s.Level != "" {
		args = append(args, "--log-level", s.Level)
	}
	if s.Listen != "" {
		args = append(args, "--cluster-listen", s.Listen, "--expect", strconv.Itoa(s.Expect))
	}
	if len(s.Join) > 0 {
		args = append(args, "--join", strings.Join(s.Join, ","))
	}
	return args
}

// tuned changes Raft's configuration as Tune says, with the timeouts of this
// package. A lone node has no other to lose contact with.
func (s *Setup) tuned() func(*raft.Config) {
	tune, clustered := s.Tune, s.Listen != ""
	return func(c *raft.Config) {
		if clustered {
			c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = Election, Election, Election
		}
		if tune != nil {
			tune(c)
		}
	}
}

func (n *Node) env(name string) (string, bool) {
	switch name {
	case "PERFGATE_CLUSTER_SECRET":
		return n.Setup.Secret, n.Setup.Secret != ""
	case "PERFGATE_OPERATOR_TOKEN":
		return Token, true
	}
	return "", false
}

// Start starts the node, and returns when its listeners are bound. It may wait
// for the others for long after that.
func (n *Node) Start() {
	n.c.t.Helper()
	n.begin()
	l := n.running()
	l.proxy = n.listening(l, "proxy listening")
	l.admin = n.listening(l, "admin listening")
}

// begin starts the node.
func (n *Node) begin() {
	n.c.t.Helper()
	if n.Running() {
		n.c.t.Fatalf("BUG: %s runs already", n.Setup.Name)
	}
	load := func() (*config.Config, error) { return node.Load(n.args(), n.env) }
	cfg, err := load()
	if err != nil {
		n.c.t.Fatalf("configure %s: %v", n.Setup.Name, err)
	}
	n.c.revive(n.i)
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{Log: newLog(), cancel: cancel, opened: make(chan struct{}), done: make(chan struct{}), exit: make(chan int, 1), clock: clock.New()}
	tune := n.Setup.tuned()
	labels := pprof.Labels(label, n.c.id)
	go pprof.Do(ctx, labels, func(ctx context.Context) {
		defer close(l.done)
		l.node, l.err = node.Open(ctx, node.Options{
			Config: cfg, Load: load, Out: io.MultiWriter(l.Log, n.Log), Version: "test", Net: n.c.Host(n.i), Tune: tune, Clock: l.clock,
			Files: n.Setup.Files, DiskLimit: n.Setup.DiskLimit, Applying: n.Setup.Applying,
			Exit: func(code int) {
				n.c.crash(n.i) // nothing of a process that has ended reaches the others
				select {
				case l.exit <- code: // the process goes on; WaitExit kills the node
				default:
				}
			},
		})
		close(l.opened)
		if l.err == nil {
			if err := l.node.Run(ctx); !l.killed.Load() {
				l.err = err
			}
		}
	})
	n.mu.Lock()
	n.life = l
	n.mu.Unlock()
}

// listening waits for the log line with an address.
func (n *Node) listening(l *life, msg string) string {
	n.c.t.Helper()
	var addr string
	n.c.Until(n.Setup.Name+" logs "+msg, func() error {
		select {
		case <-l.done:
			if l.err != nil {
				n.c.t.Fatalf("%s: %v", n.Setup.Name, l.err)
			}
		default:
		}
		if all := l.attrs(msg, "addr"); len(all) > 0 {
			addr = all[0]
			return nil
		}
		return errors.New("it does not")
	})
	return "http://" + addr
}

func (n *Node) now() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// running is the present life.
func (n *Node) running() *life {
	n.c.t.Helper()
	l := n.now()
	if l == nil {
		n.c.t.Fatalf("BUG: %s does not run", n.Setup.Name)
	}
	return l
}

// Running reports whether the node was started and not ended by the test.
func (n *Node) Running() bool { return n.now() != nil }

// Failed is why the node ended by itself.
func (n *Node) Failed() error {
	l := n.now()
	if l == nil {
		return errors.New("it does not run")
	}
	select {
	case code := <-l.exit:
		l.exit <- code
		return fmt.Errorf("it exited with %d", code)
	case <-l.done:
		return fmt.Errorf("it ended: %w", l.err)
	default:
		return nil
	}
}

// WaitExit waits until the node ends the process, and kills the rest of it.
func (n *Node) WaitExit() (code int) {
	n.c.t.Helper()
	l := n.running()
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	select {
	case code = <-l.exit:
	case <-timer.C:
		n.c.t.Fatalf("waited %v until %s exits", Timeout, n.Setup.Name)
	}
	n.Kill()
	return code
}

// Node is the running node itself, once it is assembled.
func (n *Node) Node() *node.Node {
	n.c.t.Helper()
	l := n.running()
	select {
	case <-l.opened:
	case <-time.After(Timeout):
		n.c.t.Fatalf("waited %v until %s is assembled", Timeout, n.Setup.Name)
	}
	if l.node == nil {
		n.c.t.Fatalf("%s: %v", n.Setup.Name, l.err)
	}
	return l.node
}

// Stop ends the node in good order, if it runs.
func (n *Node) Stop() {
	n.c.t.Helper()
	l := n.take()
	if l == nil {
		return
	}
	l.cancel()
	if !over(l) {
		n.c.t.Fatalf("waited %v until %s has stopped", Timeout, n.Setup.Name)
	}
	if l.err != nil && !errors.Is(l.err, context.Canceled) && !n.Setup.Rots {
		n.c.t.Errorf("stop %s: %v", n.Setup.Name, l.err)
	}
}

func (n *Node) take() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.life
	n.life = nil
	return l
}

func over(l *life) bool {
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	select {
	case <-l.done:
		return true
	case <-timer.C:
		return false
	}
}

// Kill crashes the node, if it runs.
func (n *Node) Kill() {
	n.c.t.Helper()
	n.kill()
}

func (n *Node) kill() {
	l := n.take()
	if l == nil {
		return
	}
	n.c.crash(n.i)
	l.killed.Store(true)
	select {
	case <-l.opened:
		if l.node != nil {
			if err := l.node.Abandon(); err != nil && !n.Setup.Rots {
				n.c.t.Errorf("abandon %s: %v", n.Setup.Name, err)
			}
		}
	default:
	}
	l.cancel()
	if !over(l) {
		n.c.t.Errorf("waited %v until %s has ended", Timeout, n.Setup.Name)
	}
}

// Wipe kills the node if it runs and empties its data directory.
func (n *Node) Wipe() {
	n.c.t.Helper()
	n.kill()
	if err := os.RemoveAll(n.Dir); err != nil {
		n.c.t.Fatal(err)
	}
}

// Move changes the node's address from its next start on.
func (n *Node) Move(port int) { n.Setup.Listen = Address(n.i, port) }

// SetClock puts the wall clock of the running node ahead of the machine's, or behind.
// A start begins with the machine's.
func (n *Node) SetClock(ahead time.Duration) { n.c.t.Helper(); n.running().clock.SetWrong(ahead) }

// Reload is SIGHUP: the node reads Setup again.
func (n *Node) Reload() {
	n.c.t.Helper()
	if err := n.Node().Reload(); err != nil {
		n.c.t.Fatalf("reload %s: %v", n.Setup.Name, err)
	}
}

// WaitLog waits until the log of the present start holds text.
func (n *Node) WaitLog(text string) {
	n.c.t.Helper()
	l := n.running()
	n.c.Until(fmt.Sprintf("%s logs %q", n.Setup.Name, text), func() error {
		if l.Count(text) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
}

// Said counts text in the log of the present start.
func (n *Node) Said(text string) int { n.c.t.Helper(); return n.running().Count(text) }

// SaidOf counts the lines of the present start's log with message msg that name the
// node name.
func (n *Node) SaidOf(msg, name string) (count int) {
	n.c.t.Helper()
	for _, v := range n.running().attrs(msg, "name") {
		if v == name {
			count++
		}
	}
	return count
}
