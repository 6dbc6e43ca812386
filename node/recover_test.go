package node

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
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
	appendLogAt(tb, fs, "data/"+logDir, entries...)
}

// appendLogAt adds entries behind the end of the log in dir.
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
	c := configured(tb, fs, "data")
	r := started(tb, c)
	begin(tb, r)
	for n := range 5 {
		must(tb, r, createKey(n))
	}
	if snapshots {
		if err := r.engine.raft.Snapshot().Error(); err != nil {
			tb.Fatal(err)
		}
	}
	id := r.Identity().ID
	shut(tb, r)
	appendLog(tb, fs, raft.Log{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(three(id))}, command(createKey(5)))
}

func recoverAt(fs vfs.FS, clusterID string) (r *recovery, from string, err error) {
	if r, err = openRecovery(fs, "data", slog.New(slog.DiscardHandler)); err != nil {
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
		fs := memory(t)
		survivor(t, fs, snapshots)
		// The control: as it is, it elects nobody.
		lost, err := OpenReplica(t.Context(), configured(t, fs, "data"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		if lost.leads.isOpen() {
			t.Fatal("one of three voters leads")
		}
		shut(t, lost)

		r, from, err := recoverAt(fs, "c2")
		if err != nil || from != "c1" || len(r.found.Voters) != 3 || r.found.Newest.IsZero() {
			t.Fatalf("from %q, %+v: %v", from, r, err)
		}
		n := replicaAt(t, fs, "data")
		if n.Store().ClusterID() != "c2" || n.Identity().ID != r.id || !holds(t, n, 4) || !holds(t, n, 5) {
			t.Errorf("cluster %s, node %s", n.Store().ClusterID(), n.Identity().ID)
		}
		if s := n.engine.raft.GetConfiguration().Configuration().Servers; len(s) != 1 || string(s[0].ID) != r.id {
			t.Errorf("voters %v", s)
		}
		e := eventsOf(t, n, "cluster.recover")
		if len(e) != 1 || !strings.Contains(e[0].Reason, "of 3 voters") || e[0].Seq <= r.found.LastIndex+1 {
			t.Errorf("%+v", e)
		}
		must(t, n, createKey(6))
		shut(t, n)
		again := replicaAt(t, fs, "data")
		if !holds(t, again, 6) || again.Store().ClusterID() != "c2" {
			t.Error("after a restart it is another one")
		}
		shut(t, again)
		// Once is enough.
		if r, _, err := recoverAt(fs, "c3"); err != nil || !r.found.alone {
			t.Errorf("%+v, %v", r.found, err)
		}
	}
}

// A node that has the entries, and has applied none of them.
func TestRecoverFromALogAlone(t *testing.T) {
	t.Parallel()
	fs := memory(t)
	id, err := OpenIdentity(fs, "data")
	if err != nil {
		t.Fatal(err)
	}
	l, err := raftlog.Open(raftlog.Config{FS: fs, Dir: "data/" + logDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	snaps, err := openSnapshots(fs, "data", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("a:1")
	if err := errors.Join(raft.BootstrapCluster(raftConfig(id.ID, false, slog.New(slog.DiscardHandler)), l, l, snaps, trans, three(id.ID)), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := recoverAt(fs, "c2"); err == nil || !strings.Contains(err.Error(), "never initialised") {
		t.Fatalf("nothing but a configuration: %v", err)
	}
	appendLog(t, fs, command(&store.Command{
		At: time.Now(), Init: &store.Init{ClusterID: "c1", Pepper: store.Hash{1}, OperatorToken: store.Hash{2}, DefaultTier: "free"},
	}), command(createKey(1)))
	if _, from, err := recoverAt(fs, "c2"); err != nil || from != "c1" {
		t.Fatalf("%q, %v", from, err)
	}
	n := replicaAt(t, fs, "data")
	defer shut(t, n)
	if !holds(t, n, 1) || n.Store().ClusterID() != "c2" {
		t.Error("the log's entries are lost")
	}
}

// The power fails at every step: the node is what it was, or recovered.
func TestRecoverPowerLoss(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	if err := errors.Join(mem.MkdirAll("data", 0o700), syncDir(mem, "")); err != nil {
		t.Fatal(err)
	}
	survivor(t, mem, true)
	var clones []*vfs.MemFS
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpRename, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpMkdirAll, errorfs.OpCreate, errorfs.OpLink:
			clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	}))
	if _, _, err := recoverAt(fs, "c2"); err != nil {
		t.Fatal(err)
	}
	before, after := 0, 0
	for i, clone := range clones {
		r, err := openRecovery(clone, "data", slog.New(slog.DiscardHandler))
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
		n := replicaAt(t, clone, "data")
		if !holds(t, n, 5) || n.Store().ClusterID() != "c2" || len(eventsOf(t, n, "cluster.recover")) != 1 {
			t.Errorf("step %d: cluster %s", i, n.Store().ClusterID())
		}
		must(t, n, createKey(7))
		shut(t, n)
	}
	if before < 10 || after == 0 {
		t.Errorf("%d steps, %d before and %d after it happened", len(clones), before, after)
	}
}

// What cannot be recovered from is refused, and stays as it is.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := recoverAt(memory(t), "c2"); err == nil || !strings.Contains(err.Error(), "no node's data") {
		t.Errorf("an empty directory: %v", err)
	}
	fs := memory(t)
	survivor(t, fs, false)
	appendLog(t, fs, raft.Log{Type: raft.LogCommand, Data: []byte("\x02{}")})
	if _, _, err := recoverAt(fs, "c2"); !errors.Is(err, store.ErrUnknownCommand) {
		t.Errorf("a command of a later version: %v", err)
	}
	// What it knows of the minute's buckets is not the whole cluster's.
	fs = memory(t)
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
			err = own.SetMark(levelsMark, []byte("x"), true)
		} else if mark, _ := own.Mark(levelsMark); len(mark) > 0 {
			t.Error("the levels of before are still there")
		}
		if err := errors.Join(err, own.Close()); err != nil {
			t.Fatal(err)
		}
	}
	fs = memory(t)
	survivor(t, fs, true)
	if err := fs.RemoveAll("data/" + snapshotDir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := recoverAt(fs, "c2"); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without snapshots: %v", err)
	}
}
