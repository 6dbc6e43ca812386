package manage

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/ids"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// keyStore is the part of the state that the calls about keys read.
type keyStore interface {
	Key(store.KeyID) (*store.Key, error)
	Keys(store.KeyQuery) ([]*store.Key, store.KeyID, error)
	Pepper() store.Hash
	Cell(store.AccountID) *store.Cell
	ClusterLevel() int
	Held(store.AccountID) (store.Held, error)
}

// useLog knows when keys were last used on any node.
type useLog interface {
	LastUses(context.Context, []store.KeyID) (map[store.KeyID]local.LastUse, []chain.Missing)
	Profiles(context.Context, []store.KeyID) (map[store.KeyID]insight.Profile, []chain.Missing, error)
}

// Keys serves the calls about keys.
type Keys struct {
	Store  keyStore
	Uses   useLog
	Routes RouteTable
}

// newKey is the body of POST /v1/keys, and with a secret a line of an import.
type newKey struct {
	Name           *string            `json:"name"`
	Type           *store.KeyType     `json:"type"`
	Environment    *string            `json:"environment"`
	Scopes         *[]string          `json:"scopes"`
	ExpiresAt      *time.Time         `json:"expires_at"`
	Limits         *store.Limits      `json:"limits"`
	MaxCostPerCall *amount            `json:"max_cost_per_call"`
	MonthlyBudget  *amount            `json:"monthly_budget"`
	Allowlist      *[]string          `json:"allowlist"`
	Routes         *[]string          `json:"routes"`
	Metadata       *map[string]string `json:"metadata"`
}

// key validates n and makes the key that it describes, as yet without a secret.
func (n *newKey) key(c *rest.Call) (*store.Key, error) {
	var faults fault.List
	if n.Name == nil {
		faults.Add(rest.Invalid("name", "is required"))
	}
	if n.Type == nil {
		faults.Add(rest.Invalid("type", `is required: "test" or "live"`))
	}
	f := keyFields{
		name: n.Name, environment: n.Environment, scopes: n.Scopes, expiresAt: n.ExpiresAt,
		limits: n.Limits, allowlist: n.Allowlist, routes: n.Routes, metadata: n.Metadata,
	}
	now := c.Now
	if n.ExpiresAt != nil && !n.ExpiresAt.After(now) && c.Repeated() {
		now = time.Time{}
	}
	faults.Add(f.check(now))
	if err := faults.Err(); err != nil {
		return nil, err
	}
	k := &store.Key{
		ID: store.KeyID(ids.NewSorted("key_", c.Now)), Account: c.Account, Type: *n.Type, Name: *n.Name,
		Scopes: store.DefaultScopes.Names(), Life: store.Life{CreatedAt: c.Stamp(), CreatedBy: c.Caller.Actor.ID},
		Limits: n.Limits, Allowlist: f.prefixes,
		MaxCostPerCall: (*store.Money)(n.MaxCostPerCall), MonthlyBudget: (*store.Money)(n.MonthlyBudget),
	}
	if n.Environment != nil {
		k.Environment = *n.Environment
	}
	if n.Scopes != nil {
		k.Scopes = *n.Scopes
	}
	if n.ExpiresAt != nil {
		k.ExpiresAt = *n.ExpiresAt
	}
	if n.Routes != nil {
		k.Routes = *n.Routes
	}
	if n.Metadata != nil {
		k.Metadata = *n.Metadata
	}
	return k, nil
}

// Check implements [rest.Checker].
func (n *newKey) Check(c *rest.Call) error {
	_, err := n.key(c)
	return err
}

// prefixOf is the prefix of keys of type t.
func prefixOf(t store.KeyType) string {
	if t == store.Live {
		return apikey.LivePrefix
	}
	return apikey.TestPrefix
}

// Create makes a key and shows its secret, once.
func (h *Keys) Create(c *rest.Call, in *newKey) (*issuedKey, error) {
	k, err := in.key(c)
	if err != nil {
		return nil, err
	}
	if err := c.Caller.Grants(k.Scopes); err != nil {
		return nil, err
	}
	if len(k.Allowlist) > 0 {
		if err := allowlistInTier(c, h.Store); err != nil {
			return nil, err
		}
	}
	if err := h.room(c, store.Held{Keys: 1, Bytes: store.KeySize(k)}); err != nil {
		return nil, err
	}
	secret := apikey.New(prefixOf(k.Type))
	k.Hash = apikey.Hash(h.Store.Pepper(), secret)
	k.Hint = apikey.Hint(secret)
	rc, err := c.Propose(&store.Command{Change: &store.KeyCreate{Key: *k}})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Key.Modified
	out := h.issued(c, rc, secret)
	out.Warnings = h.unused(in.Scopes, in.Routes)
	return &out, nil
}

// List shows the account's keys in the order of their creation, or in another that
// the call asks for.
func (h *Keys) List(c *rest.Call) (*rest.Page[keyView], error) {
	q := c.Query()
	kq := store.KeyQuery{
		Account: c.Account, Now: c.Now, Limit: q.Limit(),
		State: store.KeyState(q.OneOf("state", "active", "disabled", "rotating", "revoked", "expired")),
		Name:  q.Text("name"), CreatedBy: q.Text("created_by"), Environment: q.TextOrNone("environment"),
	}
	switch q.OneOf("type", "test", "live") {
	case "test":
		kq.Type = new(store.Test)
	case "live":
		kq.Type = new(store.Live)
	}
	search, searches, err := readSearch(c, q)
	if err != nil {
		return nil, err
	}
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	if searches {
		return h.search(c, q, kq, &search, after)
	}
	kq.After = store.KeyID(after)
	keys, next, err := h.Store.Keys(kq)
	if errors.Is(err, store.ErrCursor) { // the key after which to resume is gone
		return nil, fault.New(fault.InvalidCursor)
	}
	if err != nil {
		return nil, err
	}
	out := &rest.Page[keyView]{Data: make([]keyView, 0, len(keys))}
	for _, k := range keys {
		out.Data = append(out.Data, h.unusedView(c, k))
	}
	h.showUses(c, out.Data)
	if next != "" {
		out.Next = q.Seal(string(next))
	}
	return out, nil
}

// Get shows one key.
func (h *Keys) Get(c *rest.Call) (*keyView, error) {
	k, err := h.key(c)
	if err != nil {
		return nil, err
	}
	c.ETag = k.Modified
	v := h.view(c, k)
	if v.State == store.Rotating {
		v.Overlap, err = h.overlap(c, k)
	}
	return &v, err
}

// key is the key that the path names, if it is the account's.
func (h *Keys) key(c *rest.Call) (*store.Key, error) {
	k, err := h.Store.Key(store.KeyID(c.Param))
	if err != nil {
		return nil, err
	}
	if k == nil || k.Account != c.Account {
		return nil, fault.Newf(fault.NotFound, "There is no such key in this account.")
	}
	return k, nil
}

// latest is [Keys.key] after every write answered so far, for calls that
// decide by the key's state.
func (h *Keys) latest(c *rest.Call) (*store.Key, error) {
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	return h.key(c)
}

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

// reason is the text that a revocation keeps.
type reason struct {
	Reason *string `json:"reason"`
}

func (r *reason) text() (string, error) {
	if r.Reason == nil {
		return "", nil
	}
	return *r.Reason, checkText("reason", *r.Reason, 0, maxReason)
}

// revocation is the body of POST /v1/keys/{id}/revoke.
type revocation struct {
	reason
	Chain bool `json:"chain"`
}

// Check implements [rest.Checker].
func (in *revocation) Check(*rest.Call) error {
	_, err := in.text()
	return err
}

// revokedKey is its answer. StillValid are the keys that the revoked one replaced, or
// that replaced it, and that are still accepted; AlsoRevoked those that chain revoked.
type revokedKey struct {
	changedKey
	StillValid  []store.KeyID `json:"still_valid"`
	AlsoRevoked []store.KeyID `json:"also_revoked"`
}

// Revoke ends a key for good, and with chain all others of its rotations.
func (h *Keys) Revoke(c *rest.Call, in *revocation) (*revokedKey, error) {
	why, err := in.text()
	if err != nil {
		return nil, err
	}
	if c.Caller.Role == store.RoleDeveloper {
		k, err := h.latest(c)
		if err != nil {
			return nil, err
		}
		if err := c.Caller.Manages(k); err != nil {
			return nil, err
		}
		if in.Chain {
			return nil, fault.Newf(fault.Forbidden, "A developer revokes the keys that they created, one by one: chain may reach keys of others.")
		}
	}
	if in.Chain {
		return h.revokeChain(c, why)
	}
	rc, err := c.Propose(&store.Command{Change: &store.KeyRevoke{ID: store.KeyID(c.Param), Reason: why}})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Key.Modified
	c.Status = http.StatusOK
	out := &revokedKey{changedKey: changedKey{keyView: h.view(c, rc.Key), Revocation: c.Revoked(rc)}, AlsoRevoked: []store.KeyID{}}
	out.StillValid, err = h.accepted(c, rc.Key)
	return out, err
}
