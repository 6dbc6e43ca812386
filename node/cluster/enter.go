package cluster

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// Config says how a replica is one of several.
type Config struct {
	Dir                   string // the data directory
	Name, Region, Version string
	Logger                *slog.Logger

	Listen, Advertise string
	Secret            []byte
	Join              []string
	Expect            int
	Lease             time.Duration
	Stale             bool // serve on without a lease: cluster.when_isolated = "serve"
	Clock             *clock.Clock
	Net               mesh.Net       // nil is the machine's; tests cut it
	Draining          func() bool    // this node is about to stop
	Waiting           func(string)   // told why the node waits for others, "" when it does not
	Listening         func(net.Addr) // told the bound address
	// Token returns the operator token that this node keeps, if its hash is one of
	// hashes, for another node that founds the cluster; that one keeps it with
	// KeepToken. nil: no tokens are passed on.
	Token     func(hashes []store.Hash) string
	KeepToken func(token string) error
	Calls
}

// Calls are the answers to other nodes' calls that other parts of this node give.
type Calls struct {
	// Yield gives back the units that this node holds of the buckets that asks name and does
	// not need; it returns when that is in the log.
	Yield func(ctx context.Context, asks []store.GrantAsk) error
	// Audit answers a question of another node about this node's part of the audit log.
	Audit func(ctx context.Context, body []byte) ([]byte, error)
	// Observe answers a question of another node about the requests that this one served.
	Observe func(ctx context.Context, body []byte) ([]byte, error)
}

// The timeouts of a node with a cluster listener.
const (
	electionTimeout  = 500 * time.Millisecond
	leaderTimeout    = 500 * time.Millisecond // 250 lost leaders on busy machines; no safety hangs on it
	transportTimeout = 3 * time.Second        // of one of Raft's messages; longer than storeLimit
)

// Enter implements [replica.Lifecycle]: it opens the cluster port and finds this node's
// place. The certificate of the node counts, not its state:
// recover removes it where the cluster has become another one.
func (c *Cluster) Enter(ctx context.Context) (replica.Entry, error) {
	creds, err := mesh.LoadCredentials(c.r.FS(), c.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return replica.Entry{}, replica.DamagedPart(c.r, datadir.ClusterDir, err)
	}
	fresh, err := c.r.Fresh()
	if err != nil {
		return replica.Entry{}, err
	}
	if err := c.founding.load(); err != nil {
		return replica.Entry{}, err
	}
	var answers atomic.Pointer[mesh.JoinHandler]
	c.mesh, err = mesh.Open(context.Background(), mesh.Config{
		Listen: c.Listen, Advertise: c.Advertise, NodeID: c.self.ID, Secret: c.Secret, Credentials: creds,
		Denied: c.r.Store().Removed, Net: c.Net, Logger: c.Logger,
		Join: func(ctx context.Context, kind string, body []byte, remote string) (any, error) {
			if h := answers.Load(); h != nil {
				return (*h)(ctx, kind, body, remote)
			}
			return nil, errors.New("the node is starting")
		},
	})
	if err != nil {
		return replica.Entry{}, err
	}
	if c.Listening != nil {
		c.Listening(c.mesh.Addr())
	}
	begin := false
	if fresh && creds == nil {
		if creds, begin, err = c.findPlace(ctx, &answers); err != nil {
			return replica.Entry{}, err
		}
	}
	c.fresh, c.begun = fresh, begin
	c.certs.creds.Store(creds)
	c.answerAsMember = func() {
		h := mesh.JoinHandler(c.membership.answerJoin)
		answers.Store(&h)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: c.mesh.RaftLayer(c.peers.idAt), MaxPool: 3, Timeout: transportTimeout,
		ServerAddressProvider: c.peers, Logger: replica.NewRaftLogger(c.Logger),
	})
	carrier := newCarrier(trans, c.wanted, c.r.Disk().Full, c.holder.poke)
	c.reader.trans, c.leadership.carrier = carrier, carrier
	return replica.Entry{Transport: carrier, Begin: begin, Timeouts: replica.Timeouts{Election: electionTimeout, Leader: leaderTimeout}}, nil
}

// findPlace returns the certificate of the cluster that this node has joined, or
// begin if it is to begin one. Until then the node answers requests for information.
func (c *Cluster) findPlace(ctx context.Context, answers *atomic.Pointer[mesh.JoinHandler]) (creds *mesh.Credentials, begin bool, err error) {
	rejoins, err := c.r.Rejoin().Pending()
	if err != nil {
		return nil, false, err
	}
	f := &former{rejoins: rejoins, self: *c.holder.selfReport(c.Clock.Wall()), join: c.Join, expect: c.Expect, ask: c.mesh.Ask, say: c.troubles, waiting: c.Waiting}
	h := mesh.JoinHandler(func(_ context.Context, kind string, _ []byte, _ string) (any, error) {
		if kind != askInfo {
			return nil, errors.New("the node has no cluster yet")
		}
		return f.answer(), nil
	})
	answers.Store(&h)
	found, err := f.Run(ctx)
	if err != nil {
		return nil, false, err
	}
	if err := c.founding.begin(found.founding); err != nil {
		return nil, false, err
	}
	if creds = found.creds; creds == nil {
		return nil, true, nil
	}
	if found.token != "" && c.KeepToken != nil {
		if err := c.KeepToken(found.token); err != nil {
			return nil, false, err
		}
	}
	if err := errors.Join(replica.JoiningOf(c.r).Begin(c.self.ID), creds.Save(c.r.FS(), c.Dir)); err != nil {
		return nil, false, err
	}
	if err := errors.Join(c.mesh.SetCredentials(creds), c.r.Rejoin().End()); err != nil {
		return nil, false, err
	}
	c.log.Info("joined the cluster", "cluster_id", creds.ClusterID)
	return creds, false, nil
}

// wanted reports whether this node, as the leader in term, still has messages for id.
func (c *Cluster) wanted(id raft.ServerID, term uint64) bool {
	rf := c.r.Raft()
	return rf != nil && rf.State() == raft.Leader && rf.CurrentTerm() == term && c.isServer(string(id))
}

// Farewell implements [replica.Lifecycle]: the node gives its lease back, hands leadership
// over and says goodbye. The listeners are drained.
func (c *Cluster) Farewell() {
	ctx, cancel := context.WithTimeout(context.Background(), transferWait)
	defer cancel()
	if c.r.Failed() == nil {
		c.holder.leave(ctx)
		c.leadership.handOver(ctx)
	}
	if g := c.peers.members.Load(); g != nil {
		if err := g.Leave(time.Second); err != nil {
			c.log.Debug("leave the gossip", "error", err)
		}
	}
}

// HandOver implements [replica.Operator].
func (c *Cluster) HandOver() {
	ctx, cancel := context.WithTimeout(context.Background(), transferWait)
	defer cancel()
	c.leadership.handOver(ctx)
}

// SetSecret implements [replica.Operator].
func (c *Cluster) SetSecret(secret []byte) error { return c.mesh.SetSecret(secret) }

// Close implements [replica.Lifecycle].
func (c *Cluster) Close() error {
	if c.mesh == nil {
		return nil
	}
	var err error
	if g := c.peers.members.Load(); g != nil {
		err = g.Close()
	}
	err = errors.Join(err, c.mesh.Close())
	c.peers.tasks.Wait()
	return err
}
