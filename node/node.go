package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// The bounds of a node's memory and of its stop.
const (
	// pebbleCache is in bytes, for the blocks and memtables of all three instances:
	// Pebble counts memtables (8 MiB, of local/ 4; two of an instance while one is
	// flushed) against the cache, and what they leave must hold the filters of 10M
	// keys (12 MiB), or every look-up reads a filter from the disk.
	pebbleCache  = 80 << 20
	recordCache  = 168 << 20       // bytes, of keys that admission has met: 1M plain ones
	rateBuckets  = 1 << 20         // of POST /v1/ratelimit
	pruneEvery   = time.Minute     // of idle buckets
	closeTimeout = 5 * time.Second // for each step behind the drain
)

// Options are what a node gets from its process.
type Options struct {
	Config  *Config
	Load    func() (*Config, error) // reads the configuration anew
	Out     io.Writer               // for the log and the demo's line: stderr
	Version string
	Exit    func(code int) // ends the process at once

	// For tests: a network that can be cut, nil is the machine's, and a Raft that
	// takes snapshots more often.
	Net  mesh.Net
	Tune func(*raft.Config)
}

// Node is one running perfgate. It is assembled by [Open], serves while
// [Node.Run] blocks, and is taken apart in the reverse order.
type Node struct {
	config  *Config
	log     *slog.Logger
	out     io.Writer
	exit    func(int)
	version string
	net     mesh.Net
	tune    func(*raft.Config)

	clock     *Clock
	replica   *Replica
	store     *store.Store
	local     *local.Local
	grants    *Grants
	levels    *Levels
	since     int64  // see Levels.Resume
	fresh     bool   // this process made the state
	bootIndex uint64 // the log's end at the start: what is created behind it is new in this process
	gate      *admit.Gate
	proxy     *proxy.Proxy
	echo      string // URL of the built-in upstream; "" without a demo
	reloader  *Reloader

	proxyServer, adminServer *Server
	proxyCerts, adminCerts   *Certificates
	proxyHandler             handlerSlot
	adminHandler             handlerSlot

	draining atomic.Bool
	cleanups []cleanup
}

// cleanup undoes one step of Open.
type cleanup struct {
	name string
	undo func(context.Context) error
}

func (n *Node) cleanup(name string, undo func(context.Context) error) {
	n.cleanups = append(n.cleanups, cleanup{name, undo})
}

// Open assembles a node in the order in which its parts need each other. When a
// step fails, those before it are undone by the road that a stop takes.
//
// Listeners are bound before the state is opened, so that a wrong address is
// told at once; until the node is ready they answer /livez, and 503 to the rest.
func Open(ctx context.Context, o Options) (*Node, error) {
	logger, level := NewLogger(o.Out, o.Config.Log)
	n := &Node{config: o.Config, log: logger, out: o.Out, exit: o.Exit, version: o.Version, clock: NewClock(), net: o.Net, tune: o.Tune}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"data directory", n.openDataDir},
		{"listeners", n.openListeners},
		{"state", n.openState},
		{"requests", n.openRequests},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			err = errors.Join(err, n.close())
			return nil, err
		}
	}
	n.reloader = NewReloader(o.Config, o.Load, logger, n.reloadParts(level)...)
	return n, nil
}

func (n *Node) openDataDir(context.Context) error {
	unlock, err := OpenDataDir(n.config)
	if err != nil {
		return err
	}
	n.cleanup("data directory", func(context.Context) error { return unlock() })
	return nil
}

func (n *Node) openListeners(ctx context.Context) (err error) {
	if n.proxyCerts, err = OpenCertificates(n.config, "proxy", n.log); err != nil {
		return err
	}
	if n.adminCerts, err = OpenCertificates(n.config, "admin", n.log); err != nil {
		return err
	}
	n.proxyServer = NewServer(n.config, "proxy", n.proxyCerts, &n.proxyHandler, n.log)
	n.adminServer = NewServer(n.config, "admin", n.adminCerts, &n.adminHandler, n.log)
	for _, s := range []*Server{n.proxyServer, n.adminServer} {
		if err := s.Open(ctx); err != nil {
			return err
		}
		go func() {
			if err := s.Run(); err != nil {
				n.fatal(fmt.Errorf("serve the %s listener: %w", s.name, err))
			}
		}()
		n.cleanup(s.name+" listener", func(context.Context) error { return s.Close() })
	}
	return nil
}

func (n *Node) openState(ctx context.Context) (err error) {
	cache := pebble.NewCache(pebbleCache)
	n.cleanup("cache", func(context.Context) error { cache.Unref(); return nil })
	clustering, err := n.clustering()
	if err != nil {
		return err
	}
	n.replica, err = OpenReplica(ctx, ReplicaConfig{
		Dir: n.config.Node.DataDir, Name: n.config.Node.Name, Region: n.config.Node.Region, Version: n.version,
		Cache: cache, CacheBytes: recordCache, Logger: n.log, Fatal: n.fatal, Cluster: clustering, tune: n.tune,
	})
	if err != nil {
		return err
	}
	n.cleanup("replica", n.replica.Shutdown)
	n.store = n.replica.Store()
	n.local, err = local.Open(local.Config{
		FS: n.replica.FS(), Dir: filepath.Join(n.config.Node.DataDir, "local"), Cache: cache,
		Requests: n.config.Audit.Requests, MaxBytes: int64(n.config.Audit.MaxBytes),
		Node: n.replica.Identity().ID, Logger: n.log, Retention: n.retention, Environment: n.environment, Fatal: n.fatal,
	})
	if err != nil {
		return err
	}
	n.cleanup("local data", func(context.Context) error { return n.local.Close() })
	n.bootIndex = n.replica.LastIndex()
	n.fresh = !n.store.Initialized()
	return n.begin(ctx)
}

// retention is how long an account's request audit is kept.
func (n *Node) retention(id store.AccountID) time.Duration {
	cell := n.store.Cell(id)
	if cell == nil {
		return 0 // of deleted accounts as long as of any by default
	}
	s := cell.Load()
	if s == nil {
		return 0
	}
	return time.Duration(s.RetentionDays) * 24 * time.Hour
}

// environment is a key's, for usage; of a key that cannot be read it is none.
func (n *Node) environment(id store.KeyID) string {
	k, err := n.store.Key(id)
	if err != nil {
		n.log.Warn("read a key for its environment", "key", id, "error", err)
	}
	if k == nil {
		return ""
	}
	return k.Environment
}

func (n *Node) openRequests(ctx context.Context) (err error) {
	registry := newRegistry(n)
	if err := n.openBackups(registry); err != nil {
		return err
	}
	n.grants = NewGrants(GrantsConfig{
		Node: n.replica.Identity().ID, Ledger: n.store, Propose: n.replica.Propose, Logger: n.log,
	})
	table := limiter.NewBuckets(rateBuckets)
	n.levels = &Levels{Marks: n.local, Ledger: n.store, Table: table, Logger: n.log, Fresh: n.fresh}
	if n.since, err = n.levels.Resume(n.clock.Now()); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { n.grants.Run(running) })
	tasks.Go(func() { n.tick(running) })
	for _, c := range []*Certificates{n.proxyCerts, n.adminCerts} {
		if c != nil {
			tasks.Go(func() { c.Run(running) })
		}
	}
	n.cleanup("limits", func(ctx context.Context) error {
		stop()
		tasks.Wait()
		if n.replica.abandoned.Load() {
			return nil
		}
		n.grants.Close(ctx)
		return n.levels.Save(n.clock.Now())
	})

	n.gate = admit.NewGate(n.gateConfig(n.config, table))
	if n.config.RunsDemo() {
		if err := n.openEcho(ctx); err != nil {
			return err
		}
	}
	settings, err := n.proxySettings(n.config)
	if err != nil {
		return err
	}
	n.proxy = proxy.New(proxy.Config{
		Settings: settings, Gate: n.gate, Keys: n.store, Observer: n.local, Logger: n.log, Registry: registry,
	})
	api, err := httpapi.New(n.apiConfig(registry))
	if err != nil {
		return err
	}
	n.adminHandler.set(api.Admin())
	n.proxyHandler.set(api.Proxy(n.proxy))
	if n.replica.cluster != nil {
		tasks.Go(func() {
			err := n.whenReady(running, func(ctx context.Context) error { return n.replaceToken(ctx, n.config.OperatorToken()) })
			if err != nil {
				n.log.Error("take over PERFGATE_OPERATOR_TOKEN", "error", err)
			}
		})
	}
	if n.config.RunsDemo() {
		if n.replica.cluster == nil {
			return n.demo(ctx)
		}
		// A node of a cluster may wait for the others; it answers all the same.
		tasks.Go(func() {
			if err := n.whenReady(running, n.demo); err != nil {
				n.log.Warn("no demo key was made", "error", err)
			}
		})
	}
	return nil
}

// tick does what needs doing once in a while.
func (n *Node) tick(ctx context.Context) {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			n.clock.Sync()
		case <-prune.C:
			now := n.clock.Now()
			n.grants.Prune(now, now-n.since)
			n.levels.Table.Prune(now)
		}
	}
}

// Reload is what SIGHUP does: everything is validated, then swapped.
func (n *Node) Reload() error { return n.reloader.Reload() }

// Log is the node's logger.
func (n *Node) Log() *slog.Logger { return n.log }

// Run serves until ctx ends and then stops: it turns unready, gives balancers
// shutdown_delay to see that, lets requests in flight end within drain, and
// takes the node apart.
func (n *Node) Run(ctx context.Context) error {
	<-ctx.Done()
	n.draining.Store(true)
	n.log.Info("stopping: not ready any more", "shutdown_delay", n.config.Proxy.ShutdownDelay)
	time.Sleep(n.config.Proxy.ShutdownDelay)
	n.replica.HandOver()
	drain, cancel := context.WithTimeout(context.Background(), n.config.Proxy.Drain)
	defer cancel()
	var servers sync.WaitGroup
	for _, s := range []*Server{n.proxyServer, n.adminServer} {
		servers.Go(func() {
			if err := s.Shutdown(drain); err != nil {
				n.log.Warn("connections were cut off", "listener", s.name, "after", n.config.Proxy.Drain)
			}
		})
	}
	if left := n.proxy.Drain(drain); left > 0 {
		n.log.Warn("requests in flight were cut off", "requests", left, "after", n.config.Proxy.Drain)
	}
	servers.Wait()
	if err := n.close(); err != nil {
		return err
	}
	n.log.Info("stopped")
	return nil
}

// Abandon takes a node apart as a crash would, for tests that go on in the same
// process: requests are cut off, nothing is handed over, given back or said. What
// others do not notice by themselves they are not told.
func (n *Node) Abandon() error {
	n.replica.abandoned.Store(true)
	n.proxyServer.Close()
	n.adminServer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	n.proxy.Drain(ctx) // nobody may read a store that is closed
	return n.close()
}

// close undoes the steps of Open that were taken, last first.
func (n *Node) close() error {
	var faults []error
	for _, c := range slices.Backward(n.cleanups) {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		if err := c.undo(ctx); err != nil {
			faults = append(faults, fmt.Errorf("close the %s: %w", c.name, err))
		}
		cancel()
	}
	n.cleanups = nil
	return errors.Join(faults...)
}

// fatal ends the process: going on would risk what was acknowledged.
func (n *Node) fatal(err error) {
	n.log.Error("the node cannot go on; start it again once the cause is gone", "error", err)
	n.exit(1)
}

// Ready implements part of [httpapi.Backend]: the replica's word, unless the
// node is draining.
func (n *Node) Ready() error {
	if n.draining.Load() {
		return errors.New("draining")
	}
	return n.replica.Ready()
}

// backend is the node as the API sees it.
type backend struct {
	*Replica
	node *Node
}

func (b backend) Ready() error { return b.node.Ready() }

func (b backend) Cluster(ctx context.Context) httpapi.ClusterStatus {
	s := b.Replica.Cluster(ctx)
	if b.node.draining.Load() {
		for i := range s.Nodes {
			if s.Nodes[i].Name == b.node.config.Node.Name {
				s.Nodes[i].State = "draining"
			}
		}
	}
	return s
}

var _ httpapi.Backend = backend{}
