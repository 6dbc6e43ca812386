package mesh

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// words is a state machine that keeps its entries.
type words struct {
	mu  sync.Mutex
	all []string
}

func (w *words) Apply(l *raft.Log) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(l.Data))
	return nil
}

func (w *words) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (w *words) Restore(io.ReadCloser) error         { return errors.New("none") }

func (w *words) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b bytes.Buffer
	for _, s := range w.all {
		b.WriteString(s + " ")
	}
	return b.String()
}

// raftNode is one node of a Raft cluster over meshes.
type raftNode struct {
	mesh *Mesh
	raft *raft.Raft
	fsm  *words
}

// start runs Raft over the node's mesh; at returns the node at an address.
func (n *raftNode) start(t *testing.T, id raft.ServerID, conf raft.Configuration, at func(string) string) {
	t.Helper()
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.mesh.RaftLayer(at), MaxPool: 3, Timeout: 2 * time.Second, Logger: hclog.NewNullLogger(),
	})
	if string(trans.LocalAddr()) != n.mesh.Advertise() {
		t.Errorf("raft's address is %q, the mesh's %q", trans.LocalAddr(), n.mesh.Advertise())
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = id, hclog.NewNullLogger()
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 300*time.Millisecond, 300*time.Millisecond, 150*time.Millisecond
	c.CommitTimeout = 10 * time.Millisecond
	logs, stable, snaps := raft.NewInmemStore(), raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(c, logs, stable, snaps, trans, conf); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(c, n.fsm, logs, stable, snaps, trans)
	if err != nil {
		t.Fatal(err)
	}
	n.raft = r
	t.Cleanup(func() {
		n.mesh.Close()
		r.Shutdown().Error()
		trans.Close()
	})
}

// Three nodes elect a leader over the port, its entries reach all, and after its
// death another one leads.
func TestRaft(t *testing.T) {
	ca := newAuthority(t, "c1")
	nodes := map[raft.ServerID]*raftNode{}
	var conf raft.Configuration
	at := map[string]string{}
	for _, id := range []string{"a", "b", "c"} {
		m := start(t, ca, id)
		nodes[raft.ServerID(id)] = &raftNode{mesh: m, fsm: &words{}}
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(m.Advertise())})
		at[m.Advertise()] = id
	}
	for id, n := range nodes {
		n.start(t, id, conf, func(addr string) string { return at[addr] })
	}
	say := func(word string, not raft.ServerID) (leader raft.ServerID) {
		soon(t, "a leader takes "+word, func() bool {
			for id, n := range nodes {
				if id != not && n.raft.State() == raft.Leader && n.raft.Apply([]byte(word), time.Second).Error() == nil {
					leader = id
					return true
				}
			}
			return false
		})
		return leader
	}
	leader := say("one", "")
	for id, n := range nodes {
		soon(t, "node "+string(id)+" hears it", func() bool { return n.fsm.text() == "one " })
	}
	nodes[leader].mesh.Close()
	say("two", leader)
	for id, n := range nodes {
		if id != leader {
			soon(t, "node "+string(id)+" hears it", func() bool { return n.fsm.text() == "one two " })
		}
	}
}

// Raft knows addresses; the layer verifies the node.
func TestRaftDial(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a"), start(t, ca, "b")
	l := a.RaftLayer(func(string) string { return "c" })
	if _, err := l.Dial(raft.ServerAddress(b.Advertise()), patience); !errors.Is(err, ErrOtherNode) {
		t.Errorf("got %v", err)
	}
	l.Close()
	if _, err := l.Accept(); err == nil {
		t.Error("a closed layer accepts")
	}
	if c, err := b.RaftLayer(nil).Dial(raft.ServerAddress(a.Advertise()), patience); err == nil {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); !network(err) {
			t.Errorf("a connection to a closed layer: %v", err)
		}
		c.Close()
	}
}
