package node

import (
	"maps"
	"slices"
	"time"

	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/store"
)

// What tests of whole clusters look at, or do, besides what every client can.

// Store is the node's copy of the state.
func (n *Node) Store() *store.Store { return n.store }

// ID is the node's id.
func (n *Node) ID() string { return n.replica.id.ID }

// Alive are the ids of the nodes of which gossip knows, in order.
func (n *Node) Alive() []string { return slices.Sorted(maps.Keys(n.replica.cluster.alive())) }

// Certify does at another time what a node does all the time.
func (n *Node) Certify(now time.Time) error { return n.replica.cluster.certify(now) }

// Credentials are those in use, and those on the disk.
func (n *Node) Credentials() (used, saved *mesh.Credentials, err error) {
	saved, err = mesh.LoadCredentials(n.replica.space, n.config.Node.DataDir)
	return n.replica.cluster.creds.Load(), saved, err
}

// Lacks reports whether the node holds no lease.
func (n *Node) Lacks() bool { return n.replica.cluster.lease.Left(n.clock.Now()) == 0 }

// UseCredentials puts others in the place of those in use.
func (n *Node) UseCredentials(c *mesh.Credentials) { n.replica.cluster.creds.Store(c) }
