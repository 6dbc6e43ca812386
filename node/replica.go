package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
)

// ReplicaConfig says what a replica is and where it lives.
type ReplicaConfig struct {
	Dir                   string // the data directory, locked
	FS                    vfs.FS // the operating system's by default
	Name, Region, Version string
	Cache                 *pebble.Cache // shared by all Pebble instances of the node
	CacheBytes            int64         // see [store.Config]
	Logger                *slog.Logger
	// Fatal is called once, from any goroutine, when the node cannot go on: a
	// failed or hanging disk, a damaged store. It must log the error and end the
	// process at once, without waiting for the disk; a supervisor starts it again.
	Fatal func(error)
	// Cluster makes the replica one of several; nil is a lone node.
	Cluster *Clustering

	tune func(*raft.Config) // tests take snapshots more often
}

// Replica is this node's part of the replicated state: the state itself, Raft
// that keeps it equal everywhere, and the way of writes into it.
type Replica struct {
	cfg       ReplicaConfig
	id        Identity
	space     *disk.Space
	engine    *engine
	applied   *progress
	cluster   *cluster      // nil for a lone node
	slots     chan struct{} // one for each write under way
	inner     chan struct{} // one for each that no caller waits for
	leads     latch         // open while this node leads and has applied what came before
	failed    atomic.Pointer[error]
	abandoned atomic.Bool // see [Node.Abandon]
	stopped   chan struct{}
	cancel    context.CancelFunc
	tasks     sync.WaitGroup
	stop      func() error // once
}

// OpenReplica opens the replica in c.Dir. A node of a cluster that has no state
// yet first finds its place, which may take until the others are there, or ctx
// ends. The replica is not ready yet when this returns: see [Replica.WaitReady].
func OpenReplica(ctx context.Context, c ReplicaConfig) (_ *Replica, err error) {
	// Pebble leaves the mode of its files to the umask.
	syscall.Umask(0o077)
	if c.FS == nil {
		c.FS = vfs.Default
	}
	r := &Replica{slots: make(chan struct{}, maxOutstanding), inner: make(chan struct{}, maxInner), stopped: make(chan struct{})}
	fatal := c.Fatal
	c.Fatal = func(err error) {
		if r.failed.CompareAndSwap(nil, &err) {
			fatal(err)
		}
	}
	r.cfg = c
	if r.space, err = disk.NewSpace(c.FS, c.Dir, c.Logger); err != nil {
		return nil, err
	}
	if r.id, err = OpenIdentity(r.space, c.Dir); err != nil {
		return nil, err
	}
	if r.engine, err = openEngine(r.space, c.Dir, c); err != nil {
		return nil, err
	}
	r.applied = &progress{index: r.engine.state.Applied}
	running, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.stop = sync.OnceValue(r.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	r.tasks.Go(func() { r.space.Watch(running) })
	begin := true
	_, trans := raft.NewInmemTransport(loneAddress)
	var carrier raft.Transport = trans
	if c.Cluster != nil {
		if carrier, begin, err = r.enterCluster(ctx); err != nil {
			return nil, err
		}
	}
	if err = r.engine.run(c.Dir, c, r.id, carrier, begin, r.applied); err != nil {
		return nil, err
	}
	if r.cluster != nil {
		if err = r.cluster.start(running, &r.tasks); err != nil {
			return nil, err
		}
	}
	r.tasks.Go(func() { r.followLeadership(running) })
	r.tasks.Go(func() { r.watchTail(running) })
	return r, nil
}

// Store is the replicated state.
func (r *Replica) Store() *store.Store { return r.engine.state }

// Identity is who this node is.
func (r *Replica) Identity() Identity { return r.id }

// LastIndex is the newest index in the log.
func (r *Replica) LastIndex() uint64 { return r.engine.raft.LastIndex() }

// FS is the file system that everything in the data directory goes through.
func (r *Replica) FS() vfs.FS { return r.space }

// WaitReady returns once the node leads and its state includes every write that
// was ever answered, or with the reason when ctx ends.
func (r *Replica) WaitReady(ctx context.Context) error {
	for {
		if err := r.fails(); err != nil {
			return err
		}
		err := r.leads.wait(ctx, time.Second)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait until the log is applied: %w", err)
		}
	}
}

// Ready implements [httpapi.Backend], except for draining. Anybody may read the
// reason, so it names no file.
func (r *Replica) Ready() error {
	if r.fails() != nil {
		return errors.New("the node has failed; its log says why")
	}
	if r.cluster != nil {
		return r.cluster.Ready()
	}
	if !r.leads.isOpen() {
		return errors.New("the log is not applied yet, or there is no leader")
	}
	return nil
}

// fails is why this node must not answer any more.
func (r *Replica) fails() error {
	if p := r.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// followLeadership opens r.leads when this node has won an election and applied
// everything that was committed before it, and closes it when it has lost.
func (r *Replica) followLeadership(ctx context.Context) {
	var barrier chan outcome
	for {
		select {
		case <-ctx.Done():
			return
		case won := <-r.engine.leads:
			r.leads.set(false)
			if r.cluster != nil {
				r.cluster.ended()
			}
			barrier = nil
			if won {
				barrier = r.barrier()
			}
		case o := <-barrier:
			barrier = nil
			switch {
			case o.err == nil:
				if r.cluster != nil {
					r.cluster.began(o.term)
				}
				r.leads.set(true)
			case r.engine.raft.State() == raft.Leader:
				r.cfg.Logger.Warn("waiting for the log to be applied", "error", o.err)
				barrier = r.barrier()
			}
		}
	}
}

// outcome is what became of a barrier.
type outcome struct {
	term uint64 // of its entry: the one that this node leads in
	err  error
}

// barrier answers when everything committed so far is applied here. Like every
// future of Raft's it may not answer when Raft stops.
func (r *Replica) barrier() chan outcome {
	done := make(chan outcome, 1)
	go func() {
		term, err := r.engine.barrier(httpapi.ProposeTimeout)
		done <- outcome{term, err}
	}()
	return done
}

// Cluster implements [httpapi.Backend].
func (r *Replica) Cluster(ctx context.Context) httpapi.ClusterStatus {
	if r.cluster != nil {
		return r.cluster.Status(ctx)
	}
	rf := r.engine.raft
	me := httpapi.NodeStatus{
		Name: r.cfg.Name, Role: "voter", State: stateReady, AppliedIndex: r.engine.state.Applied(),
		Version: r.cfg.Version, Region: r.cfg.Region,
	}
	out := httpapi.ClusterStatus{ClusterID: r.engine.state.ClusterID(), Term: rf.CurrentTerm(), Reasons: []string{}}
	if rf.State() == raft.Leader {
		me.Role, out.Leader = "leader", r.cfg.Name
	}
	if err := r.Ready(); err != nil {
		me.State = stateStarting
		out.Reasons = append(out.Reasons, fmt.Sprintf("%s: %v", r.cfg.Name, err))
	}
	if full := r.disks(); full != "" {
		out.Reasons = append(out.Reasons, r.cfg.Name+": "+full)
	}
	out.Healthy = len(out.Reasons) == 0
	out.Nodes = []httpapi.NodeStatus{me}
	return out
}

// Shutdown stops Raft, then closes the transport and the stores, in that order,
// so that nothing writes to what is closed. Listeners are drained before. If ctx
// ends first the rest goes on in the background and the error says so; what was
// acknowledged is durable all the same.
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
	r.leads.set(false)
	if r.engine.raft != nil && !r.abandoned.Load() {
		if r.cluster != nil {
			r.cluster.farewell()
		}
		r.snapshotTail()
	}
	err := r.engine.stop()
	r.cancel()
	r.tasks.Wait()
	if r.cluster != nil {
		err = errors.Join(err, r.cluster.close())
	}
	return errors.Join(err, r.engine.close())
}

// latch is a condition that is awaited: open or shut. The zero value is shut.
type latch struct {
	mu     sync.Mutex
	open   bool
	opened chan struct{} // closed when it opens; nil while nobody waits
}

func (l *latch) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *latch) set(open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open = open; open && l.opened != nil {
		close(l.opened)
		l.opened = nil
	}
}

// wait returns nil once the latch is open, or why it was not in time.
func (l *latch) wait(ctx context.Context, limit time.Duration) error {
	l.mu.Lock()
	if l.open {
		l.mu.Unlock()
		return nil
	}
	if l.opened == nil {
		l.opened = make(chan struct{})
	}
	opened := l.opened
	l.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-opened:
		return nil
	case <-timer.C:
		return fmt.Errorf("no leader for %v", limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}
