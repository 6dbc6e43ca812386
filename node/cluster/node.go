package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// node is the part that every other part of the coordinator stands on: this node's
// settings, replica and mesh. New and Enter set the fields, before any goroutine of
// this package reads them; nothing but removed changes afterwards.
type node struct {
	*Config
	r        *replica.Replica
	mesh     *mesh.Mesh // set by Enter
	self     lease.Node
	log      *slog.Logger
	troubles *troubles
	sharing  Sharing     // set by Share
	fresh    bool        // the node had no state when this process started; set by Enter
	begun    bool        // this process made the cluster; set by Enter
	removed  atomic.Bool // this node has applied its own removal; set by isRemoved
}

// applied is the index that this node reports as applied. A removed node may still be
// sent the entry of its removal, and no write waits for a lease of a node that has
// applied the write: so the node stops serving before it reports the entry.
func (n *node) applied() uint64 {
	index := n.r.Store().Applied()
	n.isRemoved()
	if n.sharing.Follow != nil {
		n.sharing.Follow() // whose part of the limits is whose
	}
	return index
}

// isRemoved reports whether this node has applied its own removal.
func (n *node) isRemoved() bool {
	if !n.removed.Load() && n.r.Store().Removed(n.self.ID) {
		n.removed.Store(true)
	}
	return n.removed.Load()
}

// nameOf is a node's name, its id where none is known.
func (n *node) nameOf(id string) string {
	if id == n.self.ID {
		return n.Name
	}
	if m, ok := n.r.Store().Member(id); ok {
		return m.Name
	}
	return id
}

// otherServers are the other servers of Raft's configuration.
func (n *node) otherServers() []raft.Server {
	var out []raft.Server
	for _, s := range n.servers() {
		if string(s.ID) != n.self.ID {
			out = append(out, s)
		}
	}
	return out
}

// servers is Raft's latest configuration.
func (n *node) servers() []raft.Server {
	rf := n.r.Raft()
	if rf == nil {
		return nil
	}
	f := rf.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

func (n *node) isServer(id string) bool {
	for _, s := range n.servers() {
		if string(s.ID) == id {
			return true
		}
	}
	return false
}

// configured is a server's address in Raft's configuration.
func (n *node) configured(id string) string {
	for _, s := range n.servers() {
		if string(s.ID) == id {
			return string(s.Address)
		}
	}
	return ""
}

func (n *node) memberNamed(name string) (store.Member, bool) {
	for _, m := range n.r.Store().Members() {
		if m.Name == name {
			return m, true
		}
	}
	return store.Member{}, false
}

// currentTerm is Raft's, 0 before it runs.
func (n *node) currentTerm() uint64 {
	if rf := n.r.Raft(); rf != nil {
		return rf.CurrentTerm()
	}
	return 0
}

// await waits for one of Raft's futures, which may never be answered.
func (n *node) await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	timer := time.NewTimer(changeWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("raft does not answer")
	case <-ctx.Done():
		return ctx.Err()
	case <-n.r.Stopped():
		return raft.ErrRaftShutdown
	}
}

func systemActor(name string) store.Actor {
	return store.Actor{Type: store.ActorSystem, ID: "system", Name: name}
}
