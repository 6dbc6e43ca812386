package manage

import (
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// room refuses a call with a key that would let the keys of its account take up more
// than they may. Calls that run at once are each judged by the count before
// them, so an account may exceed its bound by as much as they write.
func (h *Keys) room(c *rest.Call, more store.Held) error {
	if c.Caller.Operates() || c.Repeated() {
		return nil
	}
	held, err := h.Store.Held(c.Account)
	switch {
	case err != nil:
		return err
	case held.Keys+more.Keys > store.MaxHeldKeys:
		return fault.Newf(fault.LimitReached,
			"The account has %d keys, revoked ones included, and may have %d. An operator can add more.", held.Keys, store.MaxHeldKeys)
	case held.Bytes+more.Bytes > store.MaxHeldBytes:
		return fault.Newf(fault.LimitReached,
			"The settings of the account's keys take up %d MiB, and may take up %d. Shorten lists and metadata, or ask an operator.", held.Bytes>>20, store.MaxHeldBytes>>20)
	}
	return nil
}
