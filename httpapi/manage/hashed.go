package manage

import (
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// propose makes a change that holds hashes of new keys. Apply refuses it if the pepper was
// rotated since build was called; then it is built and proposed once more.
func (h *Keys) propose(c *rest.Call, build func(store.Peppers) store.Change) (rest.Receipt, error) {
	p := h.Store.Peppers()
	rc, err := c.Propose(&store.Command{Change: build(p)})
	if err == nil || fault.From(err).Code != fault.Conflict || c.Linearize() != nil {
		return rc, err
	}
	now := h.Store.Peppers()
	if now.Generation == p.Generation {
		return rc, err
	}
	return c.Propose(&store.Command{Change: build(now)})
}
