package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/custody"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/notify"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// closeTimeout bounds each step of a stop after the drain.
const closeTimeout = 5 * time.Second

// Options are the process's part of a node.
type Options struct {
	Config  *config.Config
	Load    func() (*config.Config, error) // reads the configuration again
	Environ []string                       // all environment variables, "NAME=value"
	Out     io.Writer                      // for the log and the demo's line: stderr
	Version string
	Memory  Memory         // from [LimitMemory], where the process is the node's own
	Exit    func(code int) // ends the process at once

	// For tests: a network that can be cut, nil is the machine's, and a Raft that
	// takes snapshots more often.
	Net  mesh.Net
	Tune func(*raft.Config)
	// Clock is a clock that a test can set wrong; nil is the machine's.
	Clock *clock.Clock
	// Files is a disk that can fail, nil is the machine's, and DiskLimit the time that it
	// may take for an operation; 0 is the product's.
	Files     vfs.FS
	DiskLimit time.Duration
	// Applying may replace entries of the log before they are applied; nil replaces none.
	Applying func([]*raft.Log)
}

// Node is one running perfgate. It is assembled by [Open], serves while
// [Node.Run] blocks, and is taken apart in the reverse order. Every field but
// draining is set by Open, before anything reads it, and not changed afterwards.
type Node struct {
	options Options
	config  *config.Config // Options.Config: the one that the node was started with
	log     *slog.Logger
	clock   *clock.Clock

	bothListeners // from openListeners

	vault *custody.Vault // from openVault

	// The state, from openState.
	replica *replica.Replica
	store   *store.Store // the replica's
	local   *local.Local
	startup startup

	// The requests, from openRequests.
	limits     limits
	background background
	gate       *admit.Gate
	echo       string // URL of the built-in upstream; "" without a demo
	proxy      *proxy.Proxy
	records

	reloads  reloads
	cleanups []cleanup   // of the steps of Open that were taken
	draining atomic.Bool // set by Run: not ready any more
}

// bothListeners are the listeners of a node for requests, and the one for questions about them.
type bothListeners struct {
	proxyListener, adminListener *listener
	grpc                         *grpcDoor // nil if it is off
}

// records are what a node tells of its requests and of the changes to the state.
type records struct {
	access  *accessLog
	overall overall
	notices notify.Counts // of webhooks that this node has sent
	alerts  *notify.Alerts
}

// cleanup undoes one step of Open.
type cleanup struct {
	name string
	undo func(context.Context) error
}

func (n *Node) cleanup(name string, undo func(context.Context) error) {
	n.cleanups = append(n.cleanups, cleanup{name, undo})
}

// Open assembles a node, in steps that need each other in this order; see the
// package comment for the reasons. When one fails, those before it are undone as a
// stop would.
func Open(ctx context.Context, o Options) (*Node, error) {
	o.Out = &lockedWriter{w: o.Out}
	logger, level := NewLogger(o.Out, o.Config.Log)
	n := &Node{options: o, config: o.Config, log: logger, clock: cmp.Or(o.Clock, clock.New())}
	n.reloads.note(nil) // the start has read it
	n.warn(o.Config)
	o.Memory.log(logger)
	steps := []func(context.Context) error{n.openDataDir, n.openVault, n.openListeners, n.openState, n.openRequests}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	n.reloads.by = NewReloader(o.Config, o.Load, logger, n.reloadParts(level)...)
	return n, nil
}

// Reload is the answer to SIGHUP: everything is validated, then swapped.
func (n *Node) Reload() error {
	err := n.reloads.by.Reload()
	n.reloads.note(err)
	if err == nil {
		n.warn(n.reloads.by.Current())
	}
	return err
}

// warn logs the warnings about c that check-config prints, but for those that other
// parts log by themselves.
func (n *Node) warn(c *config.Config) {
	for _, w := range append(config.UnknownVariables(n.options.Environ), warnings(c)...) {
		n.log.Warn("check the configuration", "reason", w)
	}
	if s := ownPaths(c); s.paths != "" {
		level := slog.LevelInfo
		if s.named {
			level = slog.LevelWarn
		}
		n.log.Log(context.Background(), level, s.String(), "calls", s.paths)
	}
}

// Log is the node's logger.
func (n *Node) Log() *slog.Logger { return n.log }

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

// fatal ends the process: to continue would risk acknowledged writes.
func (n *Node) fatal(err error) {
	n.log.Error("the node cannot continue; start it again once the cause is gone", "error", err)
	n.options.Exit(1)
}

// Ready is nil if the node should get traffic: if the replica is ready and the
// node is not draining.
func (n *Node) Ready() error {
	if n.draining.Load() {
		return errors.New("draining")
	}
	return n.replica.Ready()
}
