package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/raftlog"
	"github.com/perfgate/perfgate/store/snapshot"
)

// RaftConfig is Raft's configuration for the node called id.
func RaftConfig(id string, t Timeouts, log *slog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.Logger = NewRaftLogger(log)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = t.Election, t.Election, t.Leader
	c.CommitTimeout = 50 * time.Millisecond // for commits without a notice; a message to each follower all the time
	// One fsync carries up to this many proposals that came while the one before
	// was under way; the same number waits in Raft's queue.
	c.MaxAppendEntries = 512
	c.BatchApplyCh = true
	// A start replays the tail since the last snapshot, and a snapshot costs some
	// milliseconds. Raft looks after one to two intervals.
	c.SnapshotInterval = 5 * time.Second
	c.SnapshotThreshold = 8192
	c.TrailingLogs = 10240 // how far a follower may lag before it is sent a whole snapshot
	c.NoLegacyTelemetry = true
	// A removed node stays as it is and learns from the others that it was removed.
	c.ShutdownOnRemove = false
	// Stays off: with raft 1.8.0 it hangs beyond 128 batches and loses
	// configuration entries.
	c.RestoreCommittedLogs = false
	return c
}

// engine is Raft with the three stores that it runs on.
type engine struct {
	log   *raftlog.Log
	tail  tail
	state *store.Store
	snaps *snapshot.Store
	trans raft.Transport
	raft  *raft.Raft
	// running is raft, for callbacks of Raft while it starts.
	running atomic.Pointer[raft.Raft]
	leads   chan bool     // leadership won and lost
	retake  chan struct{} // holds a token when a snapshot was damaged
	rotten  atomic.Int64  // snapshots that were found damaged since a whole one of after them
	found   atomic.Uint64 // index of the state when the last one was found damaged
	damaged func(error)   // ends the node, whose log is not that of its cluster
}

// openEngine opens the stores of c. Raft is not started: see engine.run. fatal makes the
// function that a part of the data directory is ended with.
func openEngine(fs, plain vfs.FS, c Config, fatal func(part string) func(error)) (_ *engine, err error) {
	e := &engine{leads: make(chan bool, 1), retake: make(chan struct{}, 1), damaged: fatal(datadir.LogDir)}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	path := func(name string) string { return fs.PathJoin(c.Dir, name) }
	if e.log, err = raftlog.Open(raftlog.Config{
		FS: fs, Dir: path(datadir.LogDir), Cache: c.Cache, Logger: c.Logger, Fatal: fatal(datadir.LogDir), Plain: plain, Witness: path(datadir.LogEndFile),
	}); err != nil {
		return nil, damage(datadir.LogDir, err)
	}
	if e.state, err = store.Open(store.Config{
		FS: fs, Dir: path(datadir.StateDir), Cache: c.Cache, CacheBytes: c.CacheBytes, Routes: c.Routes, Logger: c.Logger, Fatal: fatal(datadir.StateDir),
	}); err != nil {
		return nil, damage(datadir.StateDir, err)
	}
	if e.snaps, err = openSnapshots(fs, c.Dir, c.Cache, c.Logger, e); err != nil {
		return nil, err
	}
	return e, nil
}

// OpenSnapshots opens the snapshots in the data directory dir. cache may be nil.
func OpenSnapshots(fs vfs.FS, dir string, cache *pebble.Cache, log *slog.Logger) (*snapshot.Store, error) {
	return openSnapshots(fs, dir, cache, log, nil)
}

// openSnapshots tells e, if it is not nil, which snapshots are damaged and which are whole.
func openSnapshots(fs vfs.FS, dir string, cache *pebble.Cache, log *slog.Logger, e *engine) (*snapshot.Store, error) {
	c := snapshot.Config{
		FS: fs, Dir: fs.PathJoin(dir, datadir.SnapshotDir), Logger: log, Applied: store.CheckpointApplied,
		Options: func() *pebble.Options { return store.CheckpointOptions(fs, cache) },
	}
	if e != nil {
		c.Damaged, c.Whole = e.resnap, e.whole
	}
	return snapshot.Open(c)
}

// resnap has another snapshot taken in the place of a damaged one: Raft offers a follower
// the newest one that there is.
func (e *engine) resnap() {
	e.found.Store(e.state.Applied())
	e.rotten.Add(1)
	select {
	case e.retake <- struct{}{}:
	default:
	}
}

// whole takes note of a snapshot without a fault. One from before the damage proves nothing:
// the next ones may be damaged again.
func (e *engine) whole(index uint64) {
	if index > e.found.Load() {
		e.rotten.Store(0)
	}
}

// run starts Raft at the place of r.
func (e *engine) run(r *Replica, at Entry) (err error) {
	c, dir := r.cfg, r.cfg.Dir
	e.trans = at.Transport
	conf := RaftConfig(r.id.ID, at.Timeouts, c.Logger)
	conf.NotifyCh = e.leads
	if c.Tune != nil {
		c.Tune(conf)
	}
	conf.NoSnapshotRestoreOnStart = true // see check
	kept := keptLog{watchedLog{e.log, cmp.Or(c.StoreLimit, storeLimit), watchdog{r}.stuck, &e.tail}, e.state.Applied, e.damaged}
	logs := firstEntry{kept, JoiningOf(r), new(atomic.Bool)}
	if fresh, err := e.fresh(); err != nil {
		return err
	} else if fresh {
		if err := e.first(r.id, at.Begin, conf, logs); err != nil {
			return fmt.Errorf("begin the raft log in %q: %w", dir, err)
		}
	}
	if e.raft, err = raft.NewRaft(conf, machine{e.state, r.applied, c.Applying}, logs, logs, e.snaps, e.trans); err != nil {
		return fmt.Errorf("start raft in %q: %w", dir, err)
	}
	e.running.Store(e.raft)
	return nil
}

// fresh reports whether the node has neither log nor snapshots: it has never
// been part of any cluster.
func (e *engine) fresh() (bool, error) {
	last, err := e.log.LastIndex()
	if err != nil || last > 0 {
		return false, err
	}
	_, _, found, err := e.snaps.Newest()
	return !found, err
}

// barrier has everything committed so far applied and returns the term of its own
// entry.
func (e *engine) barrier(timeout time.Duration) (term uint64, err error) {
	return e.settled(e.raft.Barrier(timeout))
}

// settled waits for a barrier that is queued.
func (e *engine) settled(f raft.Future) (term uint64, err error) {
	if err := f.Error(); err != nil {
		return 0, err
	}
	at, ok := f.(interface{ Index() uint64 })
	if !ok {
		panic("BUG: raft's barrier has no index")
	}
	return e.termOf(at.Index())
}

// termOf is the term of an entry that is in the log.
func (e *engine) termOf(index uint64) (uint64, error) {
	var l raft.Log
	err := e.log.GetLog(index, &l)
	return l.Term, err
}

// first prepares a node without log and snapshots: it notes the identity, and makes the
// node the only voter of a new cluster if that is to begin. The identity comes first: a
// node that was killed with an entry and without a note of whose it is would take itself
// for another one, if the file with its id is damaged.
//
// A crash between the two writes of raft.BootstrapCluster leaves a term and no log, which
// Raft takes for a node with a past and never elects: so the remains are removed before.
// Such a node has not voted.
func (e *engine) first(id Identity, begin bool, conf *raft.Config, logs firstEntry) error {
	if begin {
		if err := e.log.Reset(); err != nil {
			return err
		}
	}
	if err := (Marks{e.log}).setIdentity(id); err != nil || !begin {
		return err
	}
	return raft.BootstrapCluster(conf, logs, logs, e.snaps, e.trans, raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: conf.LocalID, Address: e.trans.LocalAddr()},
	}})
}

// stop ends Raft; no store is touched when it returns.
func (e *engine) stop() error {
	if e.raft == nil {
		return nil
	}
	return e.raft.Shutdown().Error()
}

// close closes the transport, then the stores, the log last.
func (e *engine) close() error {
	var errs []error
	if c, ok := e.trans.(raft.WithClose); ok {
		errs = append(errs, c.Close())
	}
	if e.state != nil {
		errs = append(errs, e.state.Close())
	}
	if e.log != nil {
		errs = append(errs, e.log.Close())
	}
	return errors.Join(errs...)
}
