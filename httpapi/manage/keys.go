package manage

import (
	"context"
	"errors"
	"net/http"
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
	Peppers() store.Peppers
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
		Scopes: store.DefaultScopes.Names(), Life: store.Life{CreatedAt: c.Stamp(), CreatedBy: c.Caller.Maker()},
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
	k.Hint = apikey.Hint(secret)
	rc, err := h.propose(c, func(p store.Peppers) store.Change {
		k.Hash, k.Generation = apikey.Hash(p.Current, secret), p.Generation
		return &store.KeyCreate{Key: *k}
	})
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
