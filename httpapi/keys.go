package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

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
func (n *newKey) key(c *call) (*store.Key, error) {
	switch {
	case n.Name == nil:
		return nil, invalid("name", "is required")
	case n.Type == nil:
		return nil, invalid("type", `is required: "test" or "live"`)
	}
	f := keyFields{
		name: n.Name, environment: n.Environment, scopes: n.Scopes, expiresAt: n.ExpiresAt,
		limits: n.Limits, allowlist: n.Allowlist, routes: n.Routes, metadata: n.Metadata,
	}
	if err := f.check(c.now); err != nil {
		return nil, err
	}
	k := &store.Key{
		ID: newKeyID(c.now), Account: c.account, Type: *n.Type, Name: *n.Name,
		Scopes: []string{"read", "write"}, CreatedAt: c.stamp(), CreatedBy: c.caller.actor.ID,
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

// stamp is the call's time as it is stored: milliseconds, UTC.
func (c *call) stamp() time.Time { return c.now.UTC().Truncate(time.Millisecond) }

// newKeyID returns an id whose first 8 characters sort by now (milliseconds in
// base62, enough until the year 8888) and whose other 14 are random.
func newKeyID(now time.Time) store.KeyID {
	var head [8]byte
	ms := now.UnixMilli()
	for i := len(head) - 1; i >= 0; i-- {
		head[i] = apikey.Alphabet[ms%62]
		ms /= 62
	}
	return store.KeyID("key_" + string(head[:]) + apikey.NewID("")[len(head):])
}

// prefixOf is what keys of type t begin with.
func prefixOf(t store.KeyType) string {
	if t == store.Live {
		return apikey.LivePrefix
	}
	return apikey.TestPrefix
}

func createKey(c *call, in *newKey) (any, error) {
	k, err := in.key(c)
	if err != nil {
		return nil, err
	}
	secret := apikey.New(prefixOf(k.Type))
	k.Hash = apikey.Hash(c.Store.Pepper(), secret)
	k.Hint = apikey.Hint(secret)
	rc, err := c.propose(&store.Command{KeyCreate: &store.KeyCreate{Key: *k}})
	if err != nil {
		return nil, err
	}
	c.etag = rc.Key.Modified
	return c.issued(rc, secret), nil
}

func listKeys(c *call) (any, error) {
	q := c.query("type", "state", "environment", "name", "created_by", "limit", "cursor")
	kq := store.KeyQuery{
		Account: c.account, Now: c.now, Limit: q.limit(),
		State: store.KeyState(q.word("state", "active", "disabled", "rotating", "revoked", "expired")),
		Name:  q.text("name"), CreatedBy: q.text("created_by"),
	}
	switch q.word("type", "test", "live") {
	case "test":
		kq.Type = new(store.Test)
	case "live":
		kq.Type = new(store.Live)
	}
	if q.values.Has("environment") {
		kq.Environment = new(q.text("environment"))
	}
	if q.err != nil {
		return nil, q.err
	}
	after, err := c.open(q.values.Get("cursor"))
	if err != nil {
		return nil, err
	}
	kq.After = store.KeyID(after)
	keys, next, err := c.Store.Keys(kq)
	if errors.Is(err, store.ErrCursor) { // the key behind which to resume is gone
		return nil, fault.New(fault.InvalidCursor)
	}
	if err != nil {
		return nil, err
	}
	out := page[keyView]{Data: make([]keyView, 0, len(keys))}
	for _, k := range keys {
		out.Data = append(out.Data, c.view(k))
	}
	if next != "" {
		out.Next = c.seal(string(next))
	}
	return out, nil
}

func getKey(c *call) (any, error) {
	k, err := c.key()
	if err != nil {
		return nil, err
	}
	c.etag = k.Modified
	return c.view(k), nil
}

// key is the key that the path names, if it is the account's.
func (c *call) key() (*store.Key, error) {
	k, err := c.Store.Key(store.KeyID(c.param))
	if err != nil {
		return nil, err
	}
	if k == nil || k.Account != c.account {
		return nil, fault.Newf(fault.NotFound, "There is no such key in this account.")
	}
	return k, nil
}

// latestKey is [call.key] after every write answered so far, for calls that
// judge by what they read.
func (c *call) latestKey() (*store.Key, error) {
	if err := c.Backend.Linearize(c.r.Context()); err != nil {
		return nil, err
	}
	return c.key()
}

// keyPatch is the body of PATCH /v1/keys/{id}: what is absent stays, what is an
// object or a list is replaced whole.
type keyPatch struct {
	Name           opt[string]            `json:"name"`
	Environment    opt[string]            `json:"environment"`
	Scopes         opt[[]string]          `json:"scopes"`
	State          opt[string]            `json:"state"`
	ExpiresAt      opt[time.Time]         `json:"expires_at"`
	Limits         opt[store.Limits]      `json:"limits"`
	MaxCostPerCall opt[amount]            `json:"max_cost_per_call"`
	MonthlyBudget  opt[amount]            `json:"monthly_budget"`
	Allowlist      opt[[]string]          `json:"allowlist"`
	Routes         opt[[]string]          `json:"routes"`
	Metadata       opt[map[string]string] `json:"metadata"`
}

// update validates p as a change of key id.
func (p *keyPatch) update(id store.KeyID, now time.Time) (*store.KeyUpdate, *keyFields, error) {
	u := &store.KeyUpdate{ID: id}
	switch {
	case p.Name.Null:
		return nil, nil, invalid("name", "must not be null")
	case p.Scopes.Null:
		return nil, nil, invalid("scopes", "must not be null")
	case p.State.Set && p.State.Value != string(store.Active) && p.State.Value != string(store.Disabled):
		return nil, nil, invalid("state", `want "active" or "disabled"; to end a key for good, revoke it`)
	}
	f := keyFields{
		name: p.Name.value(), environment: p.Environment.orZero(), scopes: p.Scopes.value(),
		expiresAt: p.ExpiresAt.value(), limits: p.Limits.value(), allowlist: p.Allowlist.orZero(),
		routes: p.Routes.orZero(), metadata: p.Metadata.orZero(),
	}
	if err := f.check(now); err != nil {
		return nil, nil, err
	}
	u.Name, u.Environment, u.Scopes, u.ExpiresAt, u.Limits = f.name, f.environment, f.scopes, f.expiresAt, f.limits
	u.Routes, u.Metadata = f.routes, f.metadata
	u.MaxCostPerCall, u.MonthlyBudget = (*store.Money)(p.MaxCostPerCall.value()), (*store.Money)(p.MonthlyBudget.value())
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

func updateKey(c *call, in *keyPatch) (any, error) {
	q := c.query("force")
	force := q.truth("force")
	if q.err != nil {
		return nil, q.err
	}
	u, f, err := in.update(store.KeyID(c.param), c.now)
	if err != nil {
		return nil, err
	}
	k, err := c.latestKey()
	if err != nil {
		return nil, err
	}
	if rec := c.caller.record; rec != nil && rec.ID == k.ID && f.allowlist != nil && !force {
		if err := c.lockedOut(f.prefixes); err != nil {
			return nil, err
		}
	}
	match, err := c.ifMatch(func() (uint64, error) { return k.Modified, nil })
	if err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{Match: match, KeyUpdate: u})
	if err != nil {
		return nil, err
	}
	c.etag = rc.Key.Modified
	return changedKey{c.view(rc.Key), c.revocation(rc)}, nil
}

// The overlap of a rotation: its default by key type, and its bound.
const (
	liveOverlap = 24 * time.Hour
	maxOverlap  = 30 * 24 * time.Hour
)

// rotation is the body of POST /v1/keys/{id}/rotate.
type rotation struct {
	Overlap *string `json:"overlap"`
}

func rotateKey(c *call, in *rotation) (any, error) {
	k, err := c.latestKey()
	if err != nil {
		return nil, err
	}
	overlap := time.Duration(0)
	if k.Type == store.Live {
		overlap = liveOverlap
	}
	if in.Overlap != nil {
		overlap, err = time.ParseDuration(*in.Overlap)
		if err != nil || overlap < 0 || overlap > maxOverlap {
			return nil, invalid("overlap", `want a duration such as "24h" or "0s", at most %dh`, int(maxOverlap.Hours()))
		}
	}
	secret := apikey.New(prefixOf(k.Type))
	rc, err := c.propose(&store.Command{KeyRotate: &store.KeyRotate{
		ID: k.ID, New: newKeyID(c.now), Hash: apikey.Hash(c.Store.Pepper(), secret),
		Hint: apikey.Hint(secret), OverlapEndsAt: c.stamp().Add(overlap),
	}})
	if err != nil {
		return nil, err
	}
	c.etag = rc.Key.Modified
	out := c.issued(rc, secret)
	status := c.status
	if out.Revocation = c.revocation(rc); out.Revocation.Effective {
		c.status = status
	}
	return out, nil
}

// reason is the body of POST /v1/keys/{id}/revoke.
type reason struct {
	Reason *string `json:"reason"`
}

func (r *reason) text() (string, error) {
	if r.Reason == nil {
		return "", nil
	}
	return *r.Reason, checkText("reason", *r.Reason, 0, maxReason)
}

func revokeKey(c *call, in *reason) (any, error) {
	why, err := in.text()
	if err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{KeyRevoke: &store.KeyRevoke{ID: store.KeyID(c.param), Reason: why}})
	if err != nil {
		return nil, err
	}
	c.etag = rc.Key.Modified
	c.status = http.StatusOK
	return changedKey{c.view(rc.Key), c.revocation(rc)}, nil
}
