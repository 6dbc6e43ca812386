package manage

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// standings tells what is left of the policies of a key or an account, as [admit.Gate] does.
type standings interface {
	Standing(ctx context.Context, account store.AccountID, key *store.Record, t store.KeyType, now time.Time) ([]admit.Standing, *fault.Error)
}

// limitStore is the part of the state that the calls about limits read.
type limitStore interface {
	Key(store.KeyID) (*store.Key, error)
	Lookup(store.Hash) (*store.Record, error)
}

// Limits serves the call that shows what currently applies to a caller.
type Limits struct {
	Gate  standings
	Store limitStore
}

// policyView is one policy. Amounts of a budget are money, all others are units.
type policyView struct {
	Policy    string `json:"policy"`
	Limit     any    `json:"limit"`
	Window    string `json:"window"`
	Remaining any    `json:"remaining"`
	Reset     int64  `json:"reset"` // Unix seconds at which it is whole again
	Shadow    bool   `json:"shadow"`
}

// Read shows every policy of the calling key; to operators and keys with the scope admin,
// those of the key that the query names; and to operators without one, those of the account.
func (h *Limits) Read(c *rest.Call) (any, error) {
	q := c.Query()
	id := store.KeyID(q.Text("key"))
	t := store.Live
	if q.OneOf("type", "test", "live") == "test" {
		t = store.Test
	}
	if q.Err() != nil {
		return nil, q.Err()
	}
	key, err := h.key(c, id)
	if err != nil {
		return nil, err
	}
	states, f := h.Gate.Standing(c.Request.Context(), c.Account, key, t, c.Now)
	if f != nil {
		return nil, f
	}
	out := struct {
		Data []policyView `json:"data"`
	}{make([]policyView, len(states))}
	for i, s := range states {
		v := policyView{Policy: s.Policy, Limit: s.Limit, Window: s.Window, Remaining: s.Remaining, Reset: s.Reset, Shadow: s.Shadow}
		if s.Money {
			v.Limit, v.Remaining = amount(s.Limit), amount(s.Remaining)
		}
		out.Data[i] = v
	}
	return &out, nil
}

// key is the key that the call is about; nil: the account.
func (h *Limits) key(c *rest.Call, id store.KeyID) (*store.Record, error) {
	own := c.Caller.Record
	switch {
	case id == "" || own != nil && own.ID == id:
		return own, nil
	case own != nil && own.Scopes&store.ScopeAdmin == 0:
		return nil, &fault.Error{Code: fault.InsufficientScope, Scope: "admin", Message: "The limits of another key need the scope admin."}
	}
	for {
		k, err := h.Store.Key(id)
		if err != nil {
			return nil, err
		}
		if k == nil || k.Account != c.Account {
			return nil, fault.Newf(fault.NotFound, "There is no such key.")
		}
		rec, err := h.Store.Lookup(k.Hash)
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.ID == id {
			return rec, nil
		}
		now, err := h.Store.Key(id)
		if err != nil {
			return nil, err
		}
		if now == nil || now.Hash == k.Hash {
			return nil, fault.Newf(fault.NotFound, "There is no such key.") // its hash is another account's by now
		}
		// It was hashed again under another pepper meanwhile.
	}
}
