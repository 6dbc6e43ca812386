package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/mesh"
)

// Clustering says how a replica is one of several.
type Clustering struct {
	Listen, Advertise string
	Secret            []byte
	Join              []string
	Expect            int
	Lease             time.Duration
	Stale             bool // serve on without a lease: cluster.when_isolated = "serve"
	Clock             *Clock
	Net               mesh.Net       // nil is the machine's; tests cut it
	Draining          func() bool    // this node is about to stop
	Waiting           func(string)   // told why the node waits for others, "" when it does not
	Listening         func(net.Addr) // told the bound address
}

// enterCluster opens the cluster port and finds this node's place: begin says that
// it begins a cluster. A certificate that the node has is believed, whatever the
// state says: recover removes it where the cluster has become another one.
func (r *Replica) enterCluster(ctx context.Context) (_ raft.Transport, begin bool, err error) {
	cc := r.cfg.Cluster
	creds, err := mesh.LoadCredentials(r.space, r.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	fresh, err := r.engine.fresh()
	if err != nil {
		return nil, false, err
	}
	var answers atomic.Pointer[mesh.JoinHandler]
	m, err := mesh.Open(context.Background(), mesh.Config{
		Listen: cc.Listen, Advertise: cc.Advertise, NodeID: r.id.ID, Secret: cc.Secret, Credentials: creds,
		Denied: r.Store().Removed, Net: cc.Net, Logger: r.cfg.Logger,
		Join: func(ctx context.Context, kind string, body []byte, remote string) (any, error) {
			if h := answers.Load(); h != nil {
				return (*h)(ctx, kind, body, remote)
			}
			return nil, errors.New("the node is starting")
		},
	})
	if err != nil {
		return nil, false, err
	}
	c := newCluster(r, cc, m)
	r.cluster = c
	if cc.Listening != nil {
		cc.Listening(m.Addr())
	}
	if fresh && creds == nil {
		f := &former{self: *c.facts(time.Now()), join: cc.Join, expect: cc.Expect, mesh: m, say: c.clashes, waiting: cc.Waiting}
		h := mesh.JoinHandler(func(_ context.Context, kind string, _ []byte, _ string) (any, error) {
			if kind != askInfo {
				return nil, errors.New("the node has no cluster yet")
			}
			return f.answer(), nil
		})
		answers.Store(&h)
		if creds, err = f.Run(ctx); err != nil {
			return nil, false, err
		}
		if begin = creds == nil; !begin {
			if err := creds.Save(r.space, r.cfg.Dir); err != nil {
				return nil, false, err
			}
			if err := m.SetCredentials(creds); err != nil {
				return nil, false, err
			}
			r.cfg.Logger.Info("joined the cluster", "cluster_id", creds.ClusterID)
		}
	}
	c.creds.Store(creds)
	c.answers = func() {
		h := mesh.JoinHandler(c.answerJoin)
		answers.Store(&h)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: m.RaftLayer(c.idAt), MaxPool: 3, Timeout: transportTimeout,
		ServerAddressProvider: c, Logger: newRaftLogger(r.cfg.Logger),
	})
	return newCarrier(trans, c.wanted, r.space.Full, c.poke), begin, nil
}

// wanted reports whether this node, as the leader in term, has something to tell id.
func (c *cluster) wanted(id raft.ServerID, term uint64) bool {
	rf := c.r.engine.running.Load()
	return rf != nil && rf.State() == raft.Leader && rf.CurrentTerm() == term && c.isServer(string(id))
}

// meta is what a node's gossip tells of it.
type meta struct {
	Name    string `json:"n"`
	Address string `json:"a"` // as it advertises itself: gossip itself knows IP addresses only
}

// keepGossip begins to tell the others that this node is there, once the state has
// keys for it.
func (c *cluster) keepGossip(keys [][]byte) {
	if c.members.Load() != nil {
		if err := c.members.Load().SetKeys(keys); err != nil {
			c.clashes.say("gossip", "the gossip keys cannot be changed", "error", err)
		}
		return
	}
	raw, _ := json.Marshal(meta{c.r.cfg.Name, c.Mesh.Advertise()}) // of strings
	if len(raw) > mesh.MaxMeta {
		raw = nil // a name that long is looked up in the state
	}
	g, err := mesh.NewMembers(c.Mesh, mesh.MembersConfig{Keys: keys, Meta: raw, Event: c.heardOf, Logger: c.log})
	if err != nil {
		c.clashes.say("gossip", "gossip cannot begin; tried again", "error", err)
		return
	}
	c.members.Store(g)
	c.tasksOfMesh.Go(func() { g.Run(c.ctx, c.known) }) // what it dials ends with the mesh, not before
}

// known are the addresses where other nodes may be.
func (c *cluster) known() []string {
	out := append([]string(nil), c.Join...)
	for _, m := range c.r.Store().Members() {
		if m.ID != c.self.ID {
			out = append(out, m.Address)
		}
	}
	return out
}

// heardOf takes over what gossip knows, whenever that changes.
func (c *cluster) heardOf(mesh.Member) {
	out := map[string]meta{}
	if g := c.members.Load(); g != nil {
		for _, m := range g.List() {
			if m.State != mesh.Alive {
				continue
			}
			var told meta
			if err := json.Unmarshal(m.Meta, &told); err != nil {
				told.Address = m.Addr
			}
			out[m.ID] = told
		}
	}
	c.living.Store(&out)
}

// alive are the ids of the nodes that gossip takes for alive, with what they told.
// The map is not changed.
func (c *cluster) alive() map[string]meta {
	if m := c.living.Load(); m != nil {
		return *m
	}
	return nil
}

// ServerAddr implements [raft.ServerAddressProvider]: a node that moved is reached
// before Raft's configuration, which it may take that node to change, says so.
func (c *cluster) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if m, ok := c.alive()[string(id)]; ok {
		return raft.ServerAddress(m.Address), nil
	}
	return "", fmt.Errorf("node %s: gossip does not know its address", id) // Raft takes the configured one
}

// addressOf is where the node id is, configured unless gossip knows better.
func (c *cluster) addressOf(id, configured string) string {
	if a, err := c.ServerAddr(raft.ServerID(id)); err == nil {
		return string(a)
	}
	return configured
}

// idAt is the node that must answer at addr, "" if that is not known.
func (c *cluster) idAt(addr string) string {
	for id, m := range c.alive() {
		if m.Address == addr {
			return id
		}
	}
	for _, s := range c.servers() {
		if string(s.Address) == addr {
			return string(s.ID)
		}
	}
	return ""
}

// farewell is what a node does that stops by itself: it hands leadership over,
// gives its lease back and says goodbye. The listeners are drained.
func (c *cluster) farewell() {
	ctx, cancel := context.WithTimeout(context.Background(), transferWait)
	defer cancel()
	if c.r.fails() == nil {
		c.leave(ctx)
		c.handOver(ctx)
	}
	if g := c.members.Load(); g != nil {
		if err := g.Leave(time.Second); err != nil {
			c.log.Debug("leave the gossip", "error", err)
		}
	}
}

// HandOver gives leadership to another node, if this one has it: what stops soon
// should not lead.
func (r *Replica) HandOver() {
	if r.cluster == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), transferWait)
	defer cancel()
	r.cluster.handOver(ctx)
}

// handOver gives leadership to another node, if this one leads and there is one.
func (c *cluster) handOver(ctx context.Context) {
	if c.r.engine.raft == nil || c.r.engine.raft.State() != raft.Leader {
		return
	}
	if err := c.transfer(ctx, ""); err != nil {
		c.log.Info("leadership was not handed over", "because", err)
	}
}

// close ends what start began; the tasks have ended.
func (c *cluster) close() error {
	var err error
	if g := c.members.Load(); g != nil {
		err = g.Close()
	}
	err = errors.Join(err, c.Mesh.Close())
	c.tasksOfMesh.Wait()
	return err
}
