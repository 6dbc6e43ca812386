package manage

import (
	"net/http"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// chain lists k, the keys that it replaces and those that replace it.
// A chain is cut at [store.MaxImport] keys on each side of k.
func (h *Keys) chain(k *store.Key) ([]*store.Key, error) {
	list := []*store.Key{k}
	for _, next := range []func(*store.Key) store.KeyID{
		func(k *store.Key) store.KeyID { return k.Replaces },
		func(k *store.Key) store.KeyID { return k.ReplacedBy },
	} {
		at := k
		for n := 1; next(at) != "" && n < store.MaxImport/2; n++ {
			other, err := h.Store.Key(next(at))
			if err != nil {
				return nil, err
			}
			if other == nil || other.Account != k.Account {
				break
			}
			list = append(list, other)
			at = other
		}
	}
	return list, nil
}

// accepted lists the other keys of k's chain that are not revoked or expired.
func (h *Keys) accepted(c *rest.Call, k *store.Key) ([]store.KeyID, error) {
	list, err := h.chain(k)
	if err != nil {
		return nil, err
	}
	ids := []store.KeyID{}
	for _, other := range list {
		if s := other.State(c.Now); other.ID != k.ID && s != store.Revoked && s != store.Expired {
			ids = append(ids, other.ID)
		}
	}
	return ids, nil
}

// maxChainTries bounds how often a chain is read again because it was rotated meanwhile.
const maxChainTries = 5

// revokeChain revokes the key that the path names with all keys of its chain, in one
// command. A rotation between the reading and the command adds a key; the chain is
// then read again.
func (h *Keys) revokeChain(c *rest.Call, why string) (*revokedKey, error) {
	k, err := h.latest(c)
	if err != nil {
		return nil, err
	}
	match, err := c.IfMatch(func() (uint64, error) { return k.Modified, nil })
	if err != nil {
		return nil, err
	}
	if match != 0 && match != k.Modified {
		return nil, fault.New(fault.PreconditionFailed)
	}
	out := &revokedKey{AlsoRevoked: []store.KeyID{}}
	for try := 1; ; try++ {
		list, err := h.chain(k)
		if err != nil {
			return nil, err
		}
		cmd := &store.KeyRevokeBulk{Reason: why}
		for _, other := range list {
			cmd.IDs = append(cmd.IDs, other.ID)
		}
		rc, err := c.Propose(&store.Command{Change: cmd})
		if err != nil {
			return nil, err
		}
		for _, id := range rc.Keys {
			if id != k.ID {
				out.AlsoRevoked = append(out.AlsoRevoked, id)
			}
		}
		out.Revocation = worse(out.Revocation, c.Revoked(rc))
		if out.Revocation.Effective {
			c.Status = http.StatusOK
		}
		if k, err = h.latest(c); err != nil {
			return nil, err
		}
		if out.StillValid, err = h.accepted(c, k); err != nil {
			return nil, err
		}
		if len(out.StillValid) == 0 || try == maxChainTries {
			out.keyView = h.view(c, k)
			c.ETag = k.Modified
			return out, nil
		}
		c.Continue("chain " + string(out.StillValid[0]))
	}
}
