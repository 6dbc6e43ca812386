package manage

import (
	"context"
	"slices"
	"strings"
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

// The bounds of a call about several keys.
const (
	maxLimitKeys = 100
	limitsTime   = 2 * time.Second // for which the counts of all of them are waited for
)

// policyView is one policy. Amounts of a budget are money, all others are units.
type policyView struct {
	Policy    string `json:"policy"`
	Limit     any    `json:"limit"`
	Window    string `json:"window"`
	Remaining any    `json:"remaining"`
	Reset     int64  `json:"reset"` // Unix seconds at which it is whole again
	Shadow    bool   `json:"shadow"`

	Key store.KeyID `json:"key_id,omitzero"` // where several keys were asked about
}

// policyList answers a call about limits.
type policyList struct {
	Data []policyView `json:"data"`
}

// Read shows every policy of the calling key; to operators and keys with the scope admin,
// those of the keys that the query names; and to operators without one, those of the account.
func (h *Limits) Read(c *rest.Call) (*policyList, error) {
	q := c.Query()
	ids := q.List("key", maxLimitKeys)
	t := store.Live
	if q.OneOf("type", "test", "live") == "test" {
		t = store.Test
	}
	if q.Err() != nil {
		return nil, q.Err()
	}
	if len(ids) > 1 {
		return h.ofKeys(c, ids)
	}
	key, err := h.key(c, store.KeyID(strings.Join(ids, "")))
	if err != nil {
		return nil, err
	}
	states, f := h.Gate.Standing(c.Request.Context(), c.Account, key, t, c.Now)
	if f != nil {
		return nil, f
	}
	return &policyList{viewPolicies("", states)}, nil
}

// ofKeys shows the policies of several keys. Those of a key whose count could not be read before
// the time of all of them is over are left out.
func (h *Limits) ofKeys(c *rest.Call, ids []string) (*policyList, error) {
	ctx, stop := context.WithTimeout(c.Request.Context(), limitsTime)
	defer stop()
	out := &policyList{Data: []policyView{}}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			continue
		}
		key, err := h.key(c, store.KeyID(id))
		if err != nil {
			return nil, err
		}
		states, f := h.Gate.Standing(ctx, c.Account, key, key.Type, c.Now)
		switch {
		case f == nil:
			out.Data = append(out.Data, viewPolicies(key.ID, states)...)
		case f.Code != fault.Unavailable:
			return nil, f
		}
	}
	return out, nil
}

// viewPolicies shows policies; id names their key where there are several.
func viewPolicies(id store.KeyID, states []admit.Standing) []policyView {
	out := make([]policyView, len(states))
	for i, s := range states {
		out[i] = policyView{Policy: s.Policy, Limit: s.Limit, Window: s.Window, Remaining: s.Remaining, Reset: s.Reset, Shadow: s.Shadow, Key: id}
		if s.Money {
			out[i].Limit, out[i].Remaining = amount(s.Limit), amount(s.Remaining)
		}
	}
	return out
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
