package manage

import (
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// keyView is a key as the API shows it: every member always there, null where
// there is nothing. The secret and its hash are not in it.
type keyView struct {
	ID          store.KeyID     `json:"id"`
	Name        string          `json:"name"`
	Type        store.KeyType   `json:"type"`
	Environment *string         `json:"environment"`
	Scopes      []string        `json:"scopes"`
	State       store.KeyState  `json:"state"`
	Hint        string          `json:"hint"`
	Account     store.AccountID `json:"account"`
	lifeView
	Limits         *limitsView       `json:"limits"`
	MaxCostPerCall *amount           `json:"max_cost_per_call"`
	MonthlyBudget  *amount           `json:"monthly_budget"`
	Allowlist      []cidr            `json:"allowlist"`
	Routes         []string          `json:"routes"`
	Metadata       map[string]string `json:"metadata"`
	Overlap        *overlapView      `json:"overlap,omitzero"` // of a key that rotates, where one key is read
}

// overlapView tells how a rotation ends, and who still uses the old key.
type overlapView struct {
	UntilUnused bool       `json:"until_unused"`
	EndsUnused  *time.Time `json:"ends_if_unused_at"` // with until_unused: if it is not used again
	UsedBy      []useView  `json:"used_by"`
}

// useView is an address from which a key was used.
type useView struct {
	IP       string    `json:"ip"`
	Country  *string   `json:"country"`
	Agent    *string   `json:"user_agent"`
	LastUsed time.Time `json:"last_used_at"`
}

// overlap tells how the rotation of k ends.
func (h *Keys) overlap(c *rest.Call, k *store.Key) (*overlapView, error) {
	next, err := h.Store.Key(k.ReplacedBy)
	if err != nil || next == nil {
		return nil, err
	}
	profiles, _, err := h.Uses.Profiles(c.Request.Context(), []store.KeyID{k.ID})
	if err != nil {
		return nil, err
	}
	v := &overlapView{UntilUnused: k.UntilUnused, UsedBy: usesWithin(profiles[k.ID].Recent, next.CreatedAt, time.Time{})}
	if k.UntilUnused {
		last := next.CreatedAt
		if len(v.UsedBy) > 0 {
			last = latest(last, v.UsedBy[0].LastUsed)
		}
		v.EndsUnused = when(earliest(last.Add(UnusedFor), k.OverlapEndsAt))
	}
	return v, nil
}

// usesWithin shows the addresses whose last use was within a period, the latest first; to is
// the first time after it, zero for none.
func usesWithin(recent []insight.User, from, to time.Time) []useView {
	out := []useView{}
	from = from.Truncate(time.Second) // as the times of uses
	for _, u := range recent {
		if !u.At.Before(from) && (to.IsZero() || u.At.Before(to)) {
			out = append(out, useView{IP: u.IP.String(), Country: some(u.Country), Agent: some(u.Agent), LastUsed: u.At.UTC()})
		}
	}
	return out
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// lifeView is when a key was made and used, when and how it ends, and its rotations.
type lifeView struct {
	CreatedAt     time.Time    `json:"created_at"`
	CreatedBy     string       `json:"created_by"`
	ExpiresAt     *time.Time   `json:"expires_at"`
	RotationDueAt time.Time    `json:"rotation_due_at"`
	LastUsedAt    *time.Time   `json:"last_used_at"`
	LastUsedIP    *string      `json:"last_used_ip"`
	RevokedAt     *time.Time   `json:"revoked_at"`
	RevokedBy     *string      `json:"revoked_by"`
	RevokeReason  *string      `json:"revoke_reason"`
	Replaces      *store.KeyID `json:"replaces"`
	ReplacedBy    *store.KeyID `json:"replaced_by"`
	OverlapEndsAt *time.Time   `json:"overlap_ends_at"` // while it rotates; in a rotation's answer, of the key that was replaced
}

// issuedKey is the one answer that holds a key's secret; a repeat of the call
// withholds it.
type issuedKey struct {
	Key      *string `json:"key"`
	Withheld bool    `json:"secret_withheld,omitzero"`
	keyView
	Revocation *rest.Revocation `json:"revocation,omitzero"` // of a rotation
	Warnings   []string         `json:"warnings,omitempty"`  // see [Keys.unused]
}

// changedKey is the answer of a write that may have taken a right away.
type changedKey struct {
	keyView
	Revocation *rest.Revocation `json:"revocation"`
	Warnings   []string         `json:"warnings,omitempty"` // see [Keys.unused]
}

// issued shows k with its secret, unless the call is a repeat.
func (h *Keys) issued(c *rest.Call, rc rest.Receipt, secret string) issuedKey {
	c.Created(rc)
	out := issuedKey{Key: &secret, keyView: h.unusedView(c, rc.Key)}
	if rc.Repeat {
		out.Key, out.Withheld = nil, true
	}
	return out
}

// view shows the state of k at the call's time, and its last use.
func (h *Keys) view(c *rest.Call, k *store.Key) keyView {
	one := [1]keyView{h.unusedView(c, k)}
	h.showUses(c, one[:])
	return one[0]
}

// showUses adds the last uses to views.
func (h *Keys) showUses(c *rest.Call, views []keyView) {
	ids := make([]store.KeyID, len(views))
	for i := range views {
		ids[i] = views[i].ID
	}
	uses, _ := h.Uses.LastUses(c.Request.Context(), ids)
	for i := range views {
		if use, ok := uses[views[i].ID]; ok {
			views[i].use(use)
		}
	}
}

func (v *lifeView) use(u local.LastUse) {
	v.LastUsedAt = when(u.At)
	if u.IP.IsValid() {
		v.LastUsedIP = some(u.IP.String())
	}
}

// unusedView shows k without its last use. The end of a rotation's overlap is
// a revocation that needs no command.
func (h *Keys) unusedView(c *rest.Call, k *store.Key) keyView {
	v := keyView{
		ID: k.ID, Name: k.Name, Type: k.Type, Environment: some(k.Environment),
		Scopes: k.Scopes, State: k.State(c.Now), Hint: k.Hint, Account: k.Account,
		lifeView: lifeView{
			CreatedAt: k.CreatedAt.UTC(), CreatedBy: k.CreatedBy,
			ExpiresAt: when(k.ExpiresAt), RotationDueAt: k.CreatedAt.Add(store.RotationDue).UTC(),
			RevokedAt: when(k.RevokedAt), RevokedBy: some(k.RevokedBy), RevokeReason: some(k.RevokeReason),
			Replaces: some(k.Replaces), ReplacedBy: some(k.ReplacedBy),
		},
		Limits: viewLimits(k.Limits), MaxCostPerCall: (*amount)(k.MaxCostPerCall), MonthlyBudget: (*amount)(k.MonthlyBudget),
		Allowlist: convert(k.Allowlist, func(p netip.Prefix) cidr { return cidr(p) }), Routes: k.Routes, Metadata: k.Metadata,
	}
	if v.State == store.Rotating {
		v.OverlapEndsAt = when(k.OverlapEndsAt)
	}
	if v.State == store.Revoked && v.RevokedAt == nil {
		v.RevokedAt = when(k.OverlapEndsAt)
		v.RevokeReason = some("rotated")
	}
	return v
}

// convert maps a list; a nil one stays nil.
func convert[A, B any](list []A, f func(A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = f(a)
	}
	return out
}

// some is nil for the zero value.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// when is nil for never.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
