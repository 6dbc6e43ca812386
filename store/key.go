package store

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
)

// KeyID names an API key: "key_" and 22 base62 characters, the first of which
// sort by creation time. It is public; the key's secret is not derived from it.
type KeyID string

// AccountID names an account: [DefaultAccount] or "acct_" and 22 base62 characters.
type AccountID string

// DefaultAccount always exists and cannot be deleted.
const DefaultAccount AccountID = "default"

// Hash is HMAC-SHA-256(cluster pepper, SHA-256(key)): all that is kept of a key. Hashes under
// two peppers are as different as those of two keys, so that one table holds both.
type Hash [32]byte

// AppendText writes h in hexadecimal.
func (h Hash) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, h[:]), nil }

// MarshalText writes h in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// UnmarshalText reads 64 hexadecimal digits.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("hash of %d characters: must be %d hexadecimal digits", len(b), hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// KeyType separates production keys from test keys: limits, quotas and billing
// of one never touch the other's.
type KeyType uint8

// The key types.
const (
	Test KeyType = iota
	Live
	keyTypes
)

func (t KeyType) String() string {
	if t == Live {
		return "live"
	}
	return "test"
}

// MarshalText writes "test" or "live".
func (t KeyType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads "test" or "live".
func (t *KeyType) UnmarshalText(b []byte) error {
	switch string(b) {
	case "test":
		*t = Test
	case "live":
		*t = Live
	default:
		return fmt.Errorf("key type %q: must be test or live", b)
	}
	return nil
}

// KeyState is derived from a key's stored times and the judge's wall clock; it
// is never stored.
type KeyState string

// The key states.
const (
	Active   KeyState = "active"
	Disabled KeyState = "disabled"
	Rotating KeyState = "rotating" // replaced, and still accepted until its overlap ends
	Revoked  KeyState = "revoked"
	Expired  KeyState = "expired"
)

// Limits are a key's own or an account's own; a nil field leaves the tier's
// value (account) or sets no limit beyond the account's (key). Units:
// requests a minute, units of burst, requests a calendar month (UTC).
type Limits struct {
	PerMinute *int64 `json:"requests_per_minute"`
	Burst     *int64 `json:"burst"`
	PerMonth  *int64 `json:"requests_per_month"`
	// MaxConcurrent bounds the requests in flight of a key on each node: of the key, or of
	// each key of the account or tier.
	MaxConcurrent *int64 `json:"max_concurrent,omitzero"`
}

// Enforced returns l with its minute and burst cut to [MaxPerMinute], the most that a
// bucket enforces: an earlier version took larger ones. It does not change l, which it
// returns if there is nothing to cut.
func (l *Limits) Enforced() *Limits {
	if l == nil || cut(l.PerMinute) == l.PerMinute && cut(l.Burst) == l.Burst {
		return l
	}
	return &Limits{PerMinute: cut(l.PerMinute), Burst: cut(l.Burst), PerMonth: l.PerMonth, MaxConcurrent: l.MaxConcurrent}
}

func cut(n *int64) *int64 {
	if n == nil || *n <= MaxPerMinute {
		return n
	}
	most := int64(MaxPerMinute)
	return &most
}

// Key is everything stored about one API key, as commands write it and the
// management API shows it. Zero times mean never. A Key read from the store is
// shared and must not be changed.
type Key struct {
	ID          KeyID     `json:"id"`
	Hash        Hash      `json:"hash"`
	Generation  uint64    `json:"generation,omitzero"` // of the pepper of Hash; see [Peppers]
	Account     AccountID `json:"account"`
	Type        KeyType   `json:"type"`
	Name        string    `json:"name"`
	Environment string    `json:"environment,omitzero"`
	Scopes      []string  `json:"scopes"` // sorted, without duplicates
	Hint        string    `json:"hint"`
	Life
	Limits         *Limits           `json:"limits,omitzero"`
	MaxCostPerCall *Money            `json:"max_cost_per_call,omitzero"`
	MonthlyBudget  *Money            `json:"monthly_budget,omitzero"`
	Allowlist      []netip.Prefix    `json:"allowlist,omitzero"`
	Routes         []string          `json:"routes,omitzero"`
	Metadata       map[string]string `json:"metadata,omitzero"`
	Imported       bool              `json:"imported,omitzero"`
	Created        uint64            `json:"created,omitzero"`  // Raft index
	Modified       uint64            `json:"modified,omitzero"` // Raft index of the last change; the ETag
}

// Life is when a key was made, when and how it ends, and its rotations.
type Life struct {
	CreatedAt     time.Time `json:"created_at"`
	CreatedBy     string    `json:"created_by"` // the actor's id
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	Disabled      bool      `json:"disabled,omitzero"`
	OverlapEndsAt time.Time `json:"overlap_ends_at,omitzero"` // set by a rotation
	// UntilUnused lets the leader end the overlap before, once the key is no longer used.
	UntilUnused  bool      `json:"until_unused,omitzero"`
	RevokedAt    time.Time `json:"revoked_at,omitzero"`
	RevokedBy    string    `json:"revoked_by,omitzero"`
	RevokeReason string    `json:"revoke_reason,omitzero"`
	Replaces     KeyID     `json:"replaces,omitzero"`
	ReplacedBy   KeyID     `json:"replaced_by,omitzero"`
	// Lineage is the key that the chain of rotations began with; nil for a key that
	// replaces none. All keys of a chain are counted as that one.
	Lineage *Lineage `json:"lineage,omitzero"`
}

// Lineage names the first key of a chain of rotations.
type Lineage struct {
	ID      KeyID  `json:"id"`
	Created uint64 `json:"created"` // its Key.Created
}

// lineage is the lineage of k and of the keys that replace it.
func (k *Key) lineage() Lineage {
	if k.Lineage != nil {
		return *k.Lineage
	}
	return Lineage{ID: k.ID, Created: k.Created}
}

// RotationDue is when a key is due for rotation: 90 days after its creation.
const RotationDue = 90 * 24 * time.Hour

// State derives k's state at now. Revocation wins over expiry, expiry over
// disabling; the end of a rotation's overlap is a revocation. A revocation holds
// from the moment it is applied, also on a node with a slow clock.
func (k *Key) State(now time.Time) KeyState {
	switch {
	case !k.RevokedAt.IsZero():
		return Revoked
	case !k.OverlapEndsAt.IsZero() && !now.Before(k.OverlapEndsAt):
		return Revoked
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return Expired
	case k.Disabled:
		return Disabled
	case !k.OverlapEndsAt.IsZero():
		return Rotating
	}
	return Active
}
