package recovery

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
)

// trust is the authority of the cluster c1.
type trust struct{ ca, key []byte }

func newTrust(t *testing.T) trust {
	t.Helper()
	ca, key, err := mesh.NewCA("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return trust{ca, key}
}

// node makes the credentials of a node.
func (a trust) node(t *testing.T, id string) *mesh.Credentials {
	t.Helper()
	key, err := mesh.NewNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := mesh.NewRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := mesh.SignNode(a.ca, a.key, "c1", id, csr, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &mesh.Credentials{ClusterID: "c1", CAs: [][]byte{a.ca}, Cert: cert, Key: key}
}

// runs starts the cluster port of a node and returns its address, and how to stop it.
func (a trust) runs(t *testing.T, id string) (addr string, stop func()) {
	t.Helper()
	m, err := mesh.Open(context.Background(), mesh.Config{
		Listen: "127.0.0.1:0", NodeID: id, Secret: []byte(strings.Repeat("s", 32)), Credentials: a.node(t, id),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m.Addr().String(), func() { m.Close() }
}

// A backup is not restored beside a majority of the nodes that it was taken of, unless
// that is forced; a minority is warned of.
func TestRestoreBesideTheOldCluster(t *testing.T) {
	t.Parallel()
	a := newTrust(t)
	addrB, stopB := a.runs(t, "b")
	addrC, stopC := a.runs(t, "c")
	r := replicatest.At(t, replicatest.Memory(t), "data")
	replicatest.Begin(t, r)
	replicatest.Must(t, r, &store.Command{At: time.Now(), Change: &store.ClusterOpen{CA: a.ca, CAKey: a.key, Gossip: make([]byte, 32)}})
	for name, at := range map[string][2]string{"n1": {"a", "127.0.0.1:1"}, "n2": {"b", addrB}, "n3": {"c", addrC}} {
		replicatest.Must(t, r, &store.Command{At: time.Now(), Change: &store.MemberPut{Member: store.Member{ID: at[0], Name: name, Address: at[1], Level: store.Level}}})
	}
	dir := t.TempDir()
	file := writeText(t, filepath.Join(dir, "b.backup"), string(backupOf(t, r, time.Now())))
	replicatest.Shut(t, r)

	_, _, err := restored(t, file, "--data-dir", filepath.Join(dir, "1"))
	if err == nil || !strings.Contains(err.Error(), "cluster c1 of the backup still runs: n2 ("+addrB+"), n3 ("+addrC+")") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("two of three run: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "1")); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}
	if _, errs, err := restored(t, file, "--data-dir", filepath.Join(dir, "1"), "--force"); err != nil {
		t.Errorf("forced: %s%v", errs, err)
	}
	stopB()
	if _, errs, err := restored(t, file, "--data-dir", filepath.Join(dir, "2")); err != nil || !strings.Contains(errs, "n3 ("+addrC+") of the old cluster") {
		t.Errorf("one of three runs: %s%v", errs, err)
	}
	stopC()
	if _, errs, err := restored(t, file, "--data-dir", filepath.Join(dir, "3")); err != nil || strings.Contains(errs, "old cluster still") {
		t.Errorf("none runs: %s%v", errs, err)
	}
}

// Only voters make a majority: a nonvoter that runs is no reason to refuse, and one that
// does not run hides no majority. A backup that does not name the voters counts all.
func TestRestoreCountsVoters(t *testing.T) {
	t.Parallel()
	a := newTrust(t)
	addrB, _ := a.runs(t, "b")
	addrC, _ := a.runs(t, "c")
	r := replicatest.At(t, replicatest.Memory(t), "data")
	replicatest.Begin(t, r)
	replicatest.Must(t, r, &store.Command{At: time.Now(), Change: &store.ClusterOpen{CA: a.ca, CAKey: a.key, Gossip: make([]byte, 32)}})
	const nobody = "127.0.0.1:1"
	for id, addr := range map[string]string{"a": nobody, "b": addrB, "c": addrC, "d": nobody, "e": nobody} {
		replicatest.Must(t, r, &store.Command{At: time.Now(), Change: &store.MemberPut{Member: store.Member{ID: id, Name: "n-" + id, Address: addr, Level: store.Level}}})
	}
	for _, c := range []struct {
		name    string
		voters  []string
		refused bool
	}{
		{"two of three, and nonvoters that are gone", []string{"a", "b", "c"}, true},
		{"one of three, and a nonvoter", []string{"a", "b", "d"}, false},
		{"one of two, and a nonvoter", []string{"a", "b"}, false},
		{"nonvoters alone", []string{"a"}, false},
		{"two of five", []string{"a", "b", "c", "d", "e"}, false},
		{"an earlier version", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := writeText(t, filepath.Join(dir, "b.backup"), string(headed(t, r, backup.Header{Node: "n-a", Version: "test", CreatedAt: time.Now(), Voters: c.voters})))
			_, errs, err := restored(t, file, "--data-dir", filepath.Join(dir, "data"))
			if refused := err != nil && strings.Contains(err.Error(), "cluster c1 of the backup still runs"); refused != c.refused || !refused && err != nil {
				t.Errorf("%s%v", errs, err)
			}
			if running := "n-b (" + addrB + "), n-c (" + addrC + ")"; err == nil && !strings.Contains(errs, running) {
				t.Errorf("it does not warn of %s: %s", running, errs)
			}
		})
	}
}

// A node is not made a cluster of its own while it and the others that run are a
// majority of the voters, unless that is forced.
func TestRecoverBesideTheOldCluster(t *testing.T) {
	t.Parallel()
	a := newTrust(t)
	addrB, stopB := a.runs(t, "b")
	addrC, stopC := a.runs(t, "x") // another node is at the address of c
	defer stopC()
	dir := t.TempDir()
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	id := r.Identity().ID
	replicatest.Shut(t, r)
	if err := a.node(t, id).Save(vfs.Default, dir); err != nil {
		t.Fatal(err)
	}
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(id), Address: "127.0.0.1:1"}, {ID: "b", Address: raft.ServerAddress(addrB)}, {ID: "c", Address: raft.ServerAddress(addrC)}}}
	appendLogAt(t, vfs.Default, filepath.Join(dir, datadir.LogDir), raft.Log{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf)})
	recovers := func(args ...string) (string, error) {
		_, errs, err := runOffline(t, RecoverFlags(), RecoverCommand, nil, append(args, "--data-dir", dir)...)
		return errs, err
	}
	if errs, err := recovers("--yes"); err == nil || !strings.Contains(err.Error(), "not lost: node b ("+addrB+") still run, and with this node they are 2 of 3 voters") {
		t.Errorf("one other runs: %s%v", errs, err)
	}
	if errs, err := recovers("--force"); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("forced, and not confirmed: %s%v", errs, err)
	}
	stopB()
	if errs, err := recovers("--yes"); err != nil {
		t.Errorf("no other voter runs: %s%v", errs, err)
	}
}

// Two of five are no majority, and their nodes are named all the same.
func TestOldClusterRunning(t *testing.T) {
	t.Parallel()
	a := newTrust(t)
	addr, _ := a.runs(t, "b")
	old := &oldCluster{id: "c1", cas: [][]byte{a.ca}, peers: []oldPeer{{"b", "n2", addr}, {"c", "n3", "127.0.0.1:1"}, {"d", "n4", "127.0.0.1:1"}, {"e", "n5", "127.0.0.1:1"}}, here: 1}
	if there, majority := old.running(t.Context()); majority || names(there) != "n2 ("+addr+")" {
		t.Errorf("two of five: %v, %v", there, majority)
	}
	old.peers = old.peers[:2]
	if _, majority := old.running(t.Context()); !majority {
		t.Error("two of three are no majority")
	}
	old.nonvoters = map[string]bool{"b": true}
	if there, majority := old.running(t.Context()); majority || len(there) != 1 {
		t.Errorf("a nonvoter makes a majority: %v, %v", there, majority)
	}
	old.nonvoters = nil
	old.here = 0
	if _, majority := old.running(t.Context()); majority {
		t.Error("one of two is a majority")
	}
	if old.cas = nil; len(first(old.running(t.Context()))) != 0 {
		t.Error("without an authority nobody can be told from others")
	}
}

func first[T, U any](t T, _ U) T { return t }
