package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/mesh"
)

// peers is the view of the other nodes: which are alive by gossip, where they are,
// and which one leads. Its methods may be called from any goroutine.
type peers struct {
	*node
	members atomic.Pointer[mesh.Members]    // nil until the state has keys for the gossip; set by the reconciler
	living  atomic.Pointer[map[string]meta] // nodes that gossip takes for alive; replaced whole, never changed; set by heardOf
	hearing sync.Mutex                      // held by heardOf
	tasks   sync.WaitGroup                  // goroutines that end when the mesh is closed
	ctx     context.Context                 // ends when the replica stops; set by Start
}

// meta describes a node in its gossip.
type meta struct {
	Name    string `json:"n"`
	Address string `json:"a"` // as it advertises itself: gossip itself knows IP addresses only
}

// keepGossip begins to tell the others that this node is there, once the state has
// keys for it.
func (p *peers) keepGossip(keys [][]byte) {
	if p.members.Load() != nil {
		if err := p.members.Load().SetKeys(keys); err != nil {
			p.troubles.say("gossip", "the gossip keys cannot be changed", "error", err)
		}
		return
	}
	raw, _ := json.Marshal(meta{p.Name, p.mesh.Advertise()}) // of strings
	if len(raw) > mesh.MaxMeta {
		raw = nil // a name that long is looked up in the state
	}
	g, err := mesh.NewMembers(p.mesh, mesh.MembersConfig{Keys: keys, Meta: raw, Event: p.heardOf, Logger: p.log})
	if err != nil {
		p.troubles.say("gossip", "gossip cannot begin; tried again", "error", err)
		return
	}
	p.members.Store(g)
	p.heardOf(mesh.Member{})                     // members that were heard of while it was not set
	p.tasks.Go(func() { g.Run(p.ctx, p.known) }) // its connections end with the mesh, not before
}

// known are the addresses where other nodes may be.
func (p *peers) known() []string {
	out := append([]string(nil), p.Join...)
	for _, m := range p.r.Store().Members() {
		if m.ID != p.self.ID {
			out = append(out, m.Address)
		}
	}
	return out
}

// heardOf takes over the view of gossip, whenever it changes.
func (p *peers) heardOf(mesh.Member) {
	p.hearing.Lock() // an older view must not replace a newer one
	defer p.hearing.Unlock()
	out := map[string]meta{}
	if g := p.members.Load(); g != nil {
		for _, m := range g.List() {
			if m.State != mesh.Alive {
				continue
			}
			var about meta
			if err := json.Unmarshal(m.Meta, &about); err != nil {
				about.Address = m.Addr
			}
			out[m.ID] = about
		}
	}
	p.living.Store(&out)
}

// alive are the nodes that gossip takes for alive, by id.
// The map is not changed.
func (p *peers) alive() map[string]meta {
	if m := p.living.Load(); m != nil {
		return *m
	}
	return nil
}

// ServerAddr implements [raft.ServerAddressProvider]: a node that moved is reached
// before Raft's configuration, which it may take that node to change, says so.
func (p *peers) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if m, ok := p.alive()[string(id)]; ok {
		return raft.ServerAddress(m.Address), nil
	}
	return "", fmt.Errorf("node %s: gossip does not know its address", id) // Raft takes the configured one
}

// addressOf is where the node id is, configured unless gossip knows better.
func (p *peers) addressOf(id, configured string) string {
	if a, err := p.ServerAddr(raft.ServerID(id)); err == nil {
		return string(a)
	}
	return configured
}

// idAt is the node that must answer at addr, "" if that is not known.
func (p *peers) idAt(addr string) string {
	for id, m := range p.alive() {
		if m.Address == addr {
			return id
		}
	}
	for _, s := range p.servers() {
		if string(s.Address) == addr {
			return string(s.ID)
		}
	}
	return ""
}

// leader is the leader that this node knows of.
func (p *peers) leader() (id raft.ServerID, addr string, ok bool) {
	at, id := p.r.Raft().LeaderWithID()
	if id == "" {
		return "", "", false
	}
	return id, p.addressOf(string(id), string(at)), true
}
