package manage

import (
	"cmp"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// keyPatch is the body of PATCH /v1/keys/{id}: an absent member stays, an object
// or a list is replaced whole.
type keyPatch struct {
	Name           rest.Opt[string]            `json:"name"`
	Environment    rest.Opt[string]            `json:"environment"`
	Scopes         rest.Opt[[]string]          `json:"scopes"`
	State          rest.Opt[string]            `json:"state"`
	ExpiresAt      rest.Opt[time.Time]         `json:"expires_at"`
	Limits         rest.Opt[store.Limits]      `json:"limits"`
	MaxCostPerCall rest.Opt[amount]            `json:"max_cost_per_call"`
	MonthlyBudget  rest.Opt[amount]            `json:"monthly_budget"`
	Allowlist      rest.Opt[[]string]          `json:"allowlist"`
	Routes         rest.Opt[[]string]          `json:"routes"`
	Metadata       rest.Opt[map[string]string] `json:"metadata"`
}

// update validates p as a change of key id.
func (p *keyPatch) update(id store.KeyID, now time.Time) (*store.KeyUpdate, *keyFields, error) {
	u := &store.KeyUpdate{ID: id}
	var faults fault.List
	if p.Name.Null {
		faults.Add(rest.Invalid("name", "must not be null"))
	}
	if p.Scopes.Null {
		faults.Add(rest.Invalid("scopes", "must not be null"))
	}
	if p.State.Set && p.State.Value != string(store.Active) && p.State.Value != string(store.Disabled) {
		faults.Add(rest.Invalid("state", `must be "active" or "disabled"; to end a key for good, revoke it`))
	}
	f := keyFields{
		name: p.Name.Get(), environment: p.Environment.OrZero(), scopes: p.Scopes.Get(),
		expiresAt: p.ExpiresAt.Get(), limits: p.Limits.Get(), allowlist: p.Allowlist.OrZero(),
		routes: p.Routes.OrZero(), metadata: p.Metadata.OrZero(),
	}
	faults.Add(f.check(now))
	if err := faults.Err(); err != nil {
		return nil, nil, err
	}
	u.Name, u.Environment, u.Scopes, u.ExpiresAt, u.Limits = f.name, f.environment, f.scopes, f.expiresAt, f.limits
	u.Routes, u.Metadata = f.routes, f.metadata
	u.MaxCostPerCall, u.MonthlyBudget = (*store.Money)(p.MaxCostPerCall.Get()), (*store.Money)(p.MonthlyBudget.Get())
	if f.allowlist != nil {
		u.Allowlist = &f.prefixes
	}
	if p.State.Set {
		u.Disabled = new(p.State.Value == string(store.Disabled))
	}
	for name, null := range map[string]bool{
		"expires_at": p.ExpiresAt.Null, "limits": p.Limits.Null,
		"max_cost_per_call": p.MaxCostPerCall.Null, "monthly_budget": p.MonthlyBudget.Null,
	} {
		if null {
			u.Clear = append(u.Clear, name)
		}
	}
	slices.Sort(u.Clear)
	return u, &f, nil
}

// Check implements [rest.Checker].
func (p *keyPatch) Check(c *rest.Call) error {
	_, _, err := p.update(store.KeyID(c.Param), c.Now)
	return err
}

// Update changes a key's settings.
func (h *Keys) Update(c *rest.Call, in *keyPatch) (*changedKey, error) {
	q := c.Query()
	force := q.Bool("force")
	if q.Err() != nil {
		return nil, q.Err()
	}
	u, f, err := in.update(store.KeyID(c.Param), c.Now)
	if err != nil {
		return nil, err
	}
	k, err := h.latest(c)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(c.Caller.Manages(k), c.Caller.Grants(f.scopeList())); err != nil {
		return nil, err
	}
	// A list that a downgrade left in force may be sent again as it is.
	if len(f.prefixes) > 0 && !slices.Equal(f.prefixes, sortedPrefixes(k.Allowlist)) {
		if err := allowlistInTier(c, h.Store); err != nil {
			return nil, err
		}
	}
	if rec := c.Caller.Record; rec != nil && rec.ID == k.ID && f.allowlist != nil && !force {
		if err := lockedOut(c, f.prefixes); err != nil {
			return nil, err
		}
	}
	if u.Routes != nil || u.Allowlist != nil || u.Metadata != nil {
		if err := h.room(c, store.Held{Bytes: 1}); err != nil { // by how much it grows is seen afterwards
			return nil, err
		}
	}
	match, err := c.IfMatch(func() (uint64, error) { return k.Modified, nil })
	if err != nil {
		return nil, err
	}
	if err := c.Charge(store.KeySize(k)); err != nil { // all of it is written again
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Match: match, Change: u})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Key.Modified
	return &changedKey{keyView: h.view(c, rc.Key), Revocation: c.Revoked(rc), Warnings: h.unused(u.Scopes, u.Routes)}, nil
}
