package manage

import (
	"net/http"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// maxChain bounds the keys of a chain that are read on each side of one. It is the
// number that an account may hold by calls of its own keys.
const maxChain = store.MaxHeldKeys

// chain lists k, the keys that it replaces and those that replace it, oldest first.
func (h *Keys) chain(c *rest.Call, k *store.Key) ([]*store.Key, error) {
	older, err := h.follow(c, k, func(k *store.Key) store.KeyID { return k.Replaces })
	if err != nil {
		return nil, err
	}
	newer, err := h.follow(c, k, func(k *store.Key) store.KeyID { return k.ReplacedBy })
	slices.Reverse(older)
	return slices.Concat(older, []*store.Key{k}, newer), err
}

// follow lists the keys that next leads to from k on.
func (h *Keys) follow(c *rest.Call, k *store.Key, next func(*store.Key) store.KeyID) (list []*store.Key, err error) {
	for at := k; next(at) != "" && len(list) < maxChain; list = append(list, at) {
		if err := c.Request.Context().Err(); err != nil {
			return nil, err
		}
		at, err = h.Store.Key(next(at))
		if err != nil {
			return nil, err
		}
		if at == nil || at.Account != k.Account {
			break
		}
	}
	return list, nil
}

// accepted lists the other keys of k's chain that are not revoked or expired.
func (h *Keys) accepted(c *rest.Call, k *store.Key) ([]store.KeyID, error) {
	list, err := h.chain(c, k)
	if err != nil {
		return nil, err
	}
	ids := []store.KeyID{}
	for _, other := range list {
		if other.ID != k.ID && isAccepted(other, c.Now) {
			ids = append(ids, other.ID)
		}
	}
	return ids, nil
}

// isAccepted holds for a key that is neither revoked nor expired. A disabled one counts: it
// can be made active again.
func isAccepted(k *store.Key, now time.Time) bool {
	s := k.State(now)
	return s != store.Revoked && s != store.Expired
}

// maxChainTries bounds how often a chain is read again. Only the first time revokes
// anything, unless more than [store.MaxImport] keys of the chain are not revoked yet, or a
// node of the cluster does not know [store.KeyRevokeBulk.Last].
const maxChainTries = 5

// revokeChain revokes the key that the path names with all keys of its chain, in one
// command: no crash leaves a part of it valid, and neither does a rotation between the
// reading and the command.
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
		list, err := h.chain(c, k)
		if err != nil {
			return nil, err
		}
		rc, err := c.Propose(&store.Command{Change: h.endChain(k, list, why)})
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

// endChain is the command that revokes k and the other keys of its chain: of more than
// [store.MaxImport] the newest.
func (h *Keys) endChain(k *store.Key, chain []*store.Key, why string) *store.KeyRevokeBulk {
	cmd := &store.KeyRevokeBulk{IDs: []store.KeyID{k.ID}, Reason: why}
	for _, other := range slices.Backward(chain) {
		if other.ID != k.ID && other.RevokedAt.IsZero() && len(cmd.IDs) < store.MaxImport {
			cmd.IDs = append(cmd.IDs, other.ID)
		}
	}
	if h.Store.ClusterLevel() >= store.LevelOfLast {
		cmd.Last = chain[len(chain)-1].ID
	}
	return cmd
}
