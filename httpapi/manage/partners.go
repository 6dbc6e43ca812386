package manage

import (
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// partners collects the keys that a bulk revocation leaves valid although they replaced a
// revoked key, or were replaced by one.
type partners struct {
	h     *Keys
	c     *rest.Call
	cmd   *store.KeyRevokeBulk // the whole revocation, not one of its steps
	named map[store.KeyID]bool // cmd.IDs

	seen  map[store.KeyID]bool // keys of the chains that were read: maxPartners at most, then from the beginning
	valid []store.KeyID        // in the order of the chains; cut at [store.MaxImport]
}

// maxPartners bounds the keys that are remembered so that a chain is read once. An account
// has as many by calls of its own keys.
const maxPartners = store.MaxHeldKeys

func newPartners(h *Keys, c *rest.Call, cmd *store.KeyRevokeBulk) *partners {
	p := &partners{h: h, c: c, cmd: cmd, named: make(map[store.KeyID]bool, len(cmd.IDs))}
	for _, id := range cmd.IDs {
		p.named[id] = true
	}
	return p
}

// selects reports whether the revocation ends k, sooner or later.
func (p *partners) selects(k *store.Key) bool {
	return (len(p.named) == 0 || p.named[k.ID]) && p.cmd.Matches(k)
}

// of adds the partners of k.
func (p *partners) of(k *store.Key) error {
	if k.Replaces == "" && k.ReplacedBy == "" || p.seen[k.ID] {
		return nil
	}
	chain, err := p.h.chain(p.c, k)
	if err != nil {
		return err
	}
	if p.seen == nil || len(p.seen) > maxPartners {
		p.seen = map[store.KeyID]bool{}
	}
	for _, other := range chain {
		if !p.seen[other.ID] && len(p.valid) < store.MaxImport && isAccepted(other, p.c.Now) && !p.selects(other) {
			p.valid = append(p.valid, other.ID)
		}
		p.seen[other.ID] = true
	}
	return nil
}

// ofAll adds the partners of those keys of ids that the revocation is about.
func (p *partners) ofAll(ids []store.KeyID) error {
	for _, id := range ids {
		k, err := p.h.Store.Key(id)
		if err != nil {
			return err
		}
		if k == nil || k.Account != p.c.Account || !p.selects(k) {
			continue
		}
		if err := p.of(k); err != nil {
			return err
		}
	}
	return nil
}
