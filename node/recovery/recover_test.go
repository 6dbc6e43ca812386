package recovery

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/quota"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
	"github.com/perfgate/perfgate/store/logtest"
	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/pack"
	"github.com/perfgate/perfgate/store/raftlog"
)

// three is the configuration of a cluster that the node id is one of three voters of.
func three(id string) raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{
		{ID: raft.ServerID(id), Address: "a:1"}, {ID: "b", Address: "b:1"}, {ID: "c", Address: "c:1"},
	}}
}

func appendLog(tb testing.TB, fs vfs.FS, entries ...raft.Log) {
	tb.Helper()
	appendLogAt(tb, fs, "data/"+datadir.LogDir, entries...)
}

// appendLogAt adds entries after the end of the log in dir.
func appendLogAt(tb testing.TB, fs vfs.FS, dir string, entries ...raft.Log) {
	tb.Helper()
	l, err := raftlog.Open(raftlog.Config{FS: fs, Dir: dir, Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { tb.Error(err) }})
	if err != nil {
		tb.Fatal(err)
	}
	last, _ := l.LastIndex()
	term, err := l.GetUint64(currentTermKey)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		last++
		e.Index, e.Term = last, term
		if err := l.StoreLog(&e); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

func command(c *store.Command) raft.Log {
	return raft.Log{Type: raft.LogCommand, Data: c.Encode()}
}

// survivor is a node of three in dir "data" of fs: keys 0 to 4 are in its state,
// with snapshots in a snapshot too, and key 5 is in its log alone.
func survivor(tb testing.TB, fs vfs.FS, snapshots bool) {
	tb.Helper()
	c := replicatest.Config(tb, fs, "data")
	r := replicatest.Start(tb, c)
	replicatest.Begin(tb, r)
	for n := range 5 {
		replicatest.Must(tb, r, replicatest.CreateKey(n))
	}
	if snapshots {
		if err := r.Raft().Snapshot().Error(); err != nil {
			tb.Fatal(err)
		}
	}
	id := r.Identity().ID
	replicatest.Shut(tb, r)
	appendLog(tb, fs, raft.Log{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(three(id))}, command(replicatest.CreateKey(5)))
}

func recoverAt(fs vfs.FS, clusterID string) (r *recovery, from string, err error) {
	if r, err = openRecovery(fs, fs, "data", slog.New(slog.DiscardHandler)); err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if r.found.alone {
		return r, "", nil
	}
	from, err = r.run(store.ClusterReset{ClusterID: clusterID, Kind: store.ResetRecover, Reason: r.reason()}, time.Now().UTC())
	return r, from, err
}

func TestRecover(t *testing.T) {
	t.Parallel()
	for _, snapshots := range []bool{false, true} {
		fs := replicatest.Memory(t)
		survivor(t, fs, snapshots)
		// The control: as it is, it elects no leader.
		var log logtest.Log
		config := replicatest.Config(t, fs, "data")
		config.Logger = log.Logger()
		lost, err := replica.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		replicatest.Eventually(t, "three elections", func() bool { return log.Count("restarting election") >= 3 })
		if lost.Leads() {
			t.Fatal("one of three voters leads")
		}
		replicatest.Shut(t, lost)

		r, from, err := recoverAt(fs, "c2")
		if err != nil || from != "c1" || len(r.found.Voters) != 3 || r.found.Newest.IsZero() {
			t.Fatalf("from %q, %+v: %v", from, r, err)
		}
		n := replicatest.At(t, fs, "data")
		if n.Store().ClusterID() != "c2" || n.Identity().ID != r.id || !replicatest.Holds(t, n, 4) || !replicatest.Holds(t, n, 5) {
			t.Errorf("cluster %s, node %s", n.Store().ClusterID(), n.Identity().ID)
		}
		if s := n.Raft().GetConfiguration().Configuration().Servers; len(s) != 1 || string(s[0].ID) != r.id {
			t.Errorf("voters %v", s)
		}
		e := eventsOf(t, n, "cluster.recover")
		if len(e) != 1 || !strings.Contains(e[0].Reason, "of 3 voters") || e[0].Seq <= r.found.LastIndex+1 {
			t.Errorf("%+v", e)
		}
		replicatest.Must(t, n, replicatest.CreateKey(6))
		replicatest.Shut(t, n)
		again := replicatest.At(t, fs, "data")
		if !replicatest.Holds(t, again, 6) || again.Store().ClusterID() != "c2" {
			t.Error("after a restart it is another one")
		}
		replicatest.Shut(t, again)
		// Once is enough.
		if r, _, err := recoverAt(fs, "c3"); err != nil || !r.found.alone {
			t.Errorf("%+v, %v", r.found, err)
		}
	}
}

// A node that has the entries, and has applied none of them.
func TestRecoverFromALogAlone(t *testing.T) {
	t.Parallel()
	fs := replicatest.Memory(t)
	id, err := replica.OpenIdentity(fs, "data")
	if err != nil {
		t.Fatal(err)
	}
	l, err := raftlog.Open(raftlog.Config{FS: fs, Dir: "data/" + datadir.LogDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	snaps, err := replica.OpenSnapshots(fs, "data", nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("a:1")
	if err := errors.Join(raft.BootstrapCluster(replica.RaftConfig(id.ID, replica.LoneTimeouts, slog.New(slog.DiscardHandler)), l, l, snaps, trans, three(id.ID)), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := recoverAt(fs, "c2"); err == nil || !strings.Contains(err.Error(), "never initialised") {
		t.Fatalf("nothing but a configuration: %v", err)
	}
	appendLog(t, fs, command(&store.Command{
		At: time.Now(), Change: &store.Init{ClusterID: "c1", Pepper: store.Hash{1}, OperatorToken: store.Hash{2}, DefaultTier: "free"},
	}), command(replicatest.CreateKey(1)))
	if _, from, err := recoverAt(fs, "c2"); err != nil || from != "c1" {
		t.Fatalf("%q, %v", from, err)
	}
	n := replicatest.At(t, fs, "data")
	defer replicatest.Shut(t, n)
	if !replicatest.Holds(t, n, 1) || n.Store().ClusterID() != "c2" {
		t.Error("the log's entries are lost")
	}
}

// powerLoss clones the disk before every step that changes it for good, as if the
// power failed there. Pebble's goroutines come here at the same time.
type powerLoss struct {
	vfs.FS
	mem *losstest.Mem

	mu     sync.Mutex // also held over Lock
	clones []*losstest.Mem
}

func (p *powerLoss) before(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpRename, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpMkdirAll, errorfs.OpCreate, errorfs.OpLink:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clones = append(p.clones, p.mem.CrashClone(vfs.CrashCloneCfg{}))
	}
	return nil
}

// Lock keeps clones from being made meanwhile: MemFS.Lock takes its read lock twice,
// and a clone that waits for the write lock in between would stop both for ever.
func (p *powerLoss) Lock(name string) (io.Closer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.FS.Lock(name)
}

// The power fails at every step: the node is unchanged, or recovered.
func TestRecoverPowerLoss(t *testing.T) {
	t.Parallel()
	mem := losstest.NewMem()
	if err := errors.Join(mem.MkdirAll("data", 0o700), pack.SyncDir(mem, "")); err != nil {
		t.Fatal(err)
	}
	survivor(t, mem, true)
	fs := &powerLoss{mem: mem}
	fs.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(fs.before))
	if _, _, err := recoverAt(fs, "c2"); err != nil {
		t.Fatal(err)
	}
	before, after := 0, 0
	for i, clone := range fs.clones {
		r, err := openRecovery(clone, clone, "data", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		alone, last := r.found.alone, r.found.LastIndex
		r.close()
		if alone {
			after++
		} else {
			before++
		}
		if i%4 > 0 && !alone {
			continue
		}
		if _, _, err := recoverAt(clone, "c2"); err != nil {
			t.Errorf("step %d (log up to %d): %v", i, last, err)
			continue
		}
		n := replicatest.At(t, clone, "data")
		if !replicatest.Holds(t, n, 5) || n.Store().ClusterID() != "c2" || len(eventsOf(t, n, "cluster.recover")) != 1 {
			t.Errorf("step %d: cluster %s", i, n.Store().ClusterID())
		}
		replicatest.Must(t, n, replicatest.CreateKey(7))
		replicatest.Shut(t, n)
	}
	if before < 10 || after == 0 {
		t.Errorf("%d steps, %d before and %d after it happened", len(fs.clones), before, after)
	}
}

// A directory that cannot be recovered from is refused, and stays as it is.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := recoverAt(replicatest.Memory(t), "c2"); err == nil || !strings.Contains(err.Error(), "no node's data") {
		t.Errorf("an empty directory: %v", err)
	}
	fs := replicatest.Memory(t)
	survivor(t, fs, false)
	appendLog(t, fs, raft.Log{Type: raft.LogCommand, Data: []byte("\x02{}")})
	if _, _, err := recoverAt(fs, "c2"); !errors.Is(err, store.ErrUnknownCommand) {
		t.Errorf("a command of a later version: %v", err)
	}
	// Its levels of the minute's buckets are not the whole cluster's.
	fs = replicatest.Memory(t)
	survivor(t, fs, false)
	l := local.Config{FS: fs, Dir: "data/local", Node: "n", Logger: slog.New(slog.DiscardHandler)}
	for _, recovers := range []bool{false, true} {
		if recovers {
			if _, _, err := recoverAt(fs, "c2"); err != nil {
				t.Fatal(err)
			}
		}
		own, err := local.Open(l)
		if err != nil {
			t.Fatal(err)
		}
		if !recovers {
			err = own.SetMark(quota.LevelsMark, []byte("x"), true)
		} else if mark, _ := own.Mark(quota.LevelsMark); len(mark) > 0 {
			t.Error("the levels of before are still there")
		}
		if err := errors.Join(err, own.Close()); err != nil {
			t.Fatal(err)
		}
	}
	fs = replicatest.Memory(t)
	survivor(t, fs, true)
	if err := fs.RemoveAll("data/" + datadir.SnapshotDir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := recoverAt(fs, "c2"); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without snapshots: %v", err)
	}
}
