package cluster

import (
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/node/mesh"
)

// certificates keeps this node's certificate. The reconciler renews it; any
// goroutine may read it.
type certificates struct {
	*node
	clocks *clocks
	holder *holder
	creds  atomic.Pointer[mesh.Credentials] // in use; nil before the node has any
}

// certify signs this node's certificate with the cluster's authority, which every
// member has, if it has none of this cluster's or an old one.
func (k *certificates) certify(now time.Time) error {
	s := k.r.Store()
	trust := s.Trust()
	if trust.CA == nil || k.r.Store().Removed(k.self.ID) {
		return nil
	}
	switch own := k.creds.Load(); {
	case own == nil:
	case k.clocks.fault() != nil:
		return nil //nolint:nilerr // it would be for another time
	case own.ClusterID == s.ClusterID():
		if !own.NeedsRenewal(now) {
			return nil
		}
	case !k.r.Leads() && k.holder.lease.Left(k.Clock.Now()) == 0:
		// The state is of another cluster than the one that let this node in: it begins
		// with the state that was restored there, and has not got to the entry that made it a new
		// one. It must not take the old authority for its own.
		return nil
	}
	key, err := mesh.NewNodeKey()
	if err != nil {
		return err
	}
	csr, err := mesh.NewRequest(key, k.self.ID)
	if err != nil {
		return err
	}
	cert, err := mesh.SignNode(trust.CA, trust.CAKey, s.ClusterID(), k.self.ID, csr, now)
	if err != nil {
		return err
	}
	creds := &mesh.Credentials{ClusterID: s.ClusterID(), CAs: [][]byte{trust.CA}, Cert: cert, Key: key}
	if err := creds.Save(k.r.FS(), k.Dir); err != nil {
		return err
	}
	if err := k.mesh.SetCredentials(creds); err != nil {
		return err
	}
	k.creds.Store(creds)
	k.log.Info("cluster certificate made", "until", creds.Expiry())
	return nil
}
