package cluster

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/perfgate/perfgate/node/mesh"
)

// Internals that tests of whole clusters look at, or do.

// Alive are the ids of the nodes of which gossip knows, in order.
func (c *Cluster) Alive() []string { return slices.Sorted(maps.Keys(c.peers.alive())) }

// Certify makes the regular check of the certificate, as of the time now.
func (c *Cluster) Certify(now time.Time) error { return c.certs.certify(now) }

// Credentials are those in use, and those on the disk.
func (c *Cluster) Credentials() (used, saved *mesh.Credentials, err error) {
	saved, err = mesh.LoadCredentials(c.r.FS(), c.Dir)
	return c.certs.creds.Load(), saved, err
}

// ServeSettle answers another node's call to wait for a write.
func (c *Cluster) ServeSettle(w http.ResponseWriter, r *http.Request) { c.server.serveSettle(w, r) }

// Lacks reports whether the node holds no lease.
func (c *Cluster) Lacks() bool { return c.holder.lease.Left(c.Clock.Now()) == 0 }

// UseCredentials puts others in the place of those in use.
func (c *Cluster) UseCredentials(creds *mesh.Credentials) { c.certs.creds.Store(creds) }
