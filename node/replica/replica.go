package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
)

// Config configures [Open].
type Config struct {
	Dir string // the data directory, locked
	FS  vfs.FS // the operating system's by default
	// Encrypt makes the file system of the encrypted files out of that of the data
	// directory; nil encrypts nothing.
	Encrypt               func(vfs.FS) vfs.FS
	Name, Region, Version string
	Cache                 *pebble.Cache // shared by all Pebble instances of the node
	CacheBytes            int64         // see [store.Config]
	Routes                func(patterns []string) store.Routes
	Logger                *slog.Logger
	// Clock reads the wall clock and, at the same moment, a monotonic one that counts
	// suspend, in nanoseconds. By default it is the process's.
	Clock func() (wall time.Time, mono int64)
	// Fatal is called once, from any goroutine, when the node cannot go on: a
	// failed or hanging disk, a damaged store. It must log the error and end the
	// process at once, without waiting for the disk; a supervisor starts it again.
	Fatal func(error)
	// Coordinate makes the coordinator; nil makes that of a lone node.
	Coordinate func(*Replica) Coordinator
	// Others reports whether other nodes have the state too, when data is damaged: the node
	// then sets it aside and joins them as a new node. nil is a node without others. With an
	// error nobody knows, and nothing is set aside.
	Others func() (bool, error)
	Tune   func(*raft.Config) // tests take snapshots more often; nil changes nothing
	// StoreLimit is how long the disk may take for an operation; 0 is 2 s. Tests that are
	// not about a hanging disk raise it: on a loaded machine a good disk may take longer.
	StoreLimit time.Duration
	// Applying is called with entries before they are applied, by the goroutine that applies
	// them, and may replace them;
	// nil does nothing. Tests of a busy state machine hold it.
	Applying func([]*raft.Log)
}

// Replica is this node's part of the replicated state: the state itself, Raft
// that keeps it equal everywhere, and the way of writes into it. Each part says
// what guards its own state.
type Replica struct {
	// Set by Open and not changed afterwards.
	cfg         Config
	id          Identity
	hangs       *disk.Hangs
	space       *disk.Space
	files       vfs.FS // space, with encryption
	engine      *engine
	applied     *progress
	appender    *appender
	confirm     *confirmer
	coordinator Coordinator
	leadership  *leadership
	committer   *committer
	snapshots   *snapshotter
	cancel      context.CancelFunc // of the tasks
	stop        func() error       // once

	opened    atomic.Pointer[engine] // engine, once it is open; for the watchdog, which runs before
	failed    atomic.Pointer[error]
	abandoned atomic.Bool   // see Abandon
	stopped   chan struct{} // closed when the shutdown begins
	tasks     sync.WaitGroup
}

// Open opens the replica in c.Dir. A node of a cluster that has no state yet first
// finds its place, which may take until other nodes are there, or ctx ends. The
// replica is not ready yet when Open returns: see [Replica.WaitReady].
func Open(ctx context.Context, c Config) (_ *Replica, err error) {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	r := &Replica{stopped: make(chan struct{})}
	if c.Clock == nil {
		began := time.Now()
		c.Clock = func() (time.Time, int64) { now := time.Now(); return now, int64(now.Sub(began)) }
	}
	fatal := c.Fatal
	c.Fatal = func(err error) {
		if r.failed.CompareAndSwap(nil, &err) {
			fatal(err)
		}
	}
	r.cfg = c
	r.hangs = disk.NewHangs(c.FS, cmp.Or(c.StoreLimit, storeLimit), watchdog{r}.hung)
	if r.space, err = disk.NewSpace(r.hangs, c.Dir, c.Logger); err != nil {
		return nil, err
	}
	if r.files = vfs.FS(r.space); c.Encrypt != nil {
		r.files = c.Encrypt(r.space)
	}
	h := &healer{r: r, fs: r.space, dir: c.Dir, log: c.Logger}
	if err = h.open(ctx); err != nil {
		return nil, err
	}
	r.opened.Store(r.engine)
	r.assemble()
	running, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.stop = sync.OnceValue(r.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	r.tasks.Go(func() { r.space.Watch(running) })
	entry, err := r.coordinator.Enter(ctx)
	if err != nil {
		return nil, err
	}
	if err = r.engine.run(r, entry); err != nil {
		return nil, err
	}
	r.tasks.Go(func() { r.confirm.Run(running) })
	if err = r.coordinator.Start(running, &r.tasks); err != nil {
		return nil, err
	}
	r.tasks.Go(func() { r.leadership.follow(running) })
	r.tasks.Go(func() { r.snapshots.watch(running) })
	return r, nil
}

// assemble makes the parts around the engine. Raft does not run yet.
func (r *Replica) assemble() {
	r.applied = &progress{index: r.engine.state.Applied}
	r.appender = &appender{engine: r.engine}
	r.confirm = newConfirmer(r.appender.barrier)
	r.snapshots = &snapshotter{engine: r.engine, log: r.cfg.Logger, failed: r.Failed}
	r.coordinator = lone{r}
	if r.cfg.Coordinate != nil {
		r.coordinator = r.cfg.Coordinate(r)
	}
	r.leadership = &leadership{engine: r.engine, coordinator: r.coordinator, log: r.cfg.Logger}
	r.committer = &committer{
		name: r.cfg.Name, clock: r.cfg.Clock, space: r.space, engine: r.engine, appender: r.appender, confirm: r.confirm,
		coordinator: r.coordinator, stopped: r.stopped,
		slots: make(chan struct{}, maxOutstanding), inner: make(chan struct{}, maxInner), large: room{total: largeBytes}, taking: room{total: largeTaking},
	}
}

// Store is the replicated state.
func (r *Replica) Store() *store.Store { return r.engine.state }

// Identity is this node's.
func (r *Replica) Identity() Identity { return r.id }

// Coordinator is the one that [Config.Coordinate] made.
func (r *Replica) Coordinator() Coordinator { return r.coordinator }

// LastIndex is the newest index in the log.
func (r *Replica) LastIndex() uint64 { return r.engine.raft.LastIndex() }

// Raft is nil until it runs.
func (r *Replica) Raft() *raft.Raft { return r.engine.running.Load() }

// Leads reports whether this node leads and has applied everything from before
// its term.
func (r *Replica) Leads() bool { return r.leadership.leads.isOpen() }

// Changed returns a channel that is closed when the state next applies something.
func (r *Replica) Changed() <-chan struct{} { return r.applied.after() }

// WaitApplied returns once the state includes index, or with ctx's error.
func (r *Replica) WaitApplied(ctx context.Context, index uint64) error {
	return r.applied.wait(ctx, index)
}

// Confirm returns the term in which this node led after the call. Everything that
// was committed before the call is then applied to this node's state. An error
// says that this node does not lead, or that ctx has ended.
func (r *Replica) Confirm(ctx context.Context) (term uint64, err error) {
	return r.confirm.Confirm(ctx)
}

// ConfirmTerm returns nil once an entry that this node appended after the call, as the
// leader in term, is committed. The caller knows that this node has led in term. Unlike
// [Replica.Confirm] it does not wait until the entry is applied, which under load comes
// seconds after the commit.
func (r *Replica) ConfirmTerm(ctx context.Context, term uint64) error {
	return r.appender.confirmTerm(ctx, term)
}

// Hold keeps new entries out of the log while this node hands its leadership over:
// the next leader must have them all, and an entry that arrives too late would have
// an unknown outcome. Writes and confirmations are answered ErrNotTaken meanwhile, so
// that callers repeat them, until the first call of release. One hold is possible at
// a time; ok is false during another one.
//
// Raft's own transfer has such a flag too, but may leave it set for good when the
// target does not answer (hashicorp/raft issue 696).
func (r *Replica) Hold() (release func(), ok bool) { return r.appender.hold() }

// Flush returns the last index of the log after every entry that was proposed before
// the call is committed, or the reason why that is not certain within the time of ctx.
// It works during a hold.
func (r *Replica) Flush(ctx context.Context) (last uint64, err error) { return r.appender.flush(ctx) }

// Stopped is closed when the replica begins to shut down: futures of Raft's may
// not be answered any more.
func (r *Replica) Stopped() <-chan struct{} { return r.stopped }

// Fresh reports whether this node has neither log nor snapshots: it has never
// been part of any cluster.
func (r *Replica) Fresh() (bool, error) { return r.engine.fresh() }

// Fail ends the node because of err; see [Config.Fatal].
func (r *Replica) Fail(err error) { r.cfg.Fatal(err) }

// Failed is why this node must not answer any more, nil while it may.
func (r *Replica) Failed() error {
	if p := r.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// FS is the file system of everything in the data directory that is encrypted; see
// [Config.Encrypt].
func (r *Replica) FS() vfs.FS { return r.files }

// Plain is the file system of the entries of the data directory that are not encrypted.
func (r *Replica) Plain() vfs.FS { return r.space }

// RollLogs makes the databases of the log and the state write what they hold to tables and
// begin new logs.
func (r *Replica) RollLogs() error {
	return errors.Join(r.engine.log.Roll(), r.engine.state.RollLog())
}

// Disk returns the state of this node's disk.
func (r *Replica) Disk() Disk { return Disk{r.space, r.hangs} }

// Ready is nil when the node is caught up and holds a serving lease; otherwise it
// is the reason. Anybody may read it, so it names no file.
func (r *Replica) Ready() error {
	if r.Failed() != nil {
		return errors.New("the node has failed; its log says why")
	}
	return r.coordinator.Ready()
}

// Abandon makes the next Shutdown end the replica as a crash would, for tests:
// nothing is handed over, given back or reported.
func (r *Replica) Abandon() { r.abandoned.Store(true) }

// Abandoned reports whether Abandon was called.
func (r *Replica) Abandoned() bool { return r.abandoned.Load() }

// Shutdown stops Raft, then closes the transport and the stores, in that order,
// so that nothing writes to a closed store. Listeners are drained before. If ctx
// ends first, the rest goes on in the background and the error says so; every
// acknowledged write is durable all the same.
func (r *Replica) Shutdown(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- r.stop() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("close the replica: %w", ctx.Err())
	}
}

func (r *Replica) shutdown() error {
	close(r.stopped)
	r.leadership.leads.set(false)
	if r.engine.raft != nil && !r.abandoned.Load() {
		r.coordinator.Farewell()
		r.snapshots.atStop()
	}
	err := r.engine.stop()
	r.cancel()
	r.tasks.Wait()
	err = errors.Join(err, r.coordinator.Close())
	return errors.Join(err, r.engine.close())
}

// WaitReady returns once the node leads and its state includes every write that
// was ever answered, or with the reason when ctx ends.
func (r *Replica) WaitReady(ctx context.Context) error {
	for {
		if err := r.Failed(); err != nil {
			return err
		}
		err := r.leadership.leads.wait(ctx, time.Second)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait until the log is applied: %w", err)
		}
	}
}
