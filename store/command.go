package store

import (
	"net/netip"
	"time"
)

// Command is one entry of the replicated log: who asks, when, on whose account,
// and exactly one change. Everything that is not deterministic (ids, hashes of
// secrets, times) is settled before it is proposed.
//
// The wire form is one version byte and JSON, written by [Command.Encode] alone.
// Optional members are tagged omitzero, never omitempty: the latter drops a
// pointer to an empty value, and with it a change to "nothing".
type Command struct {
	At      time.Time   `json:"at"`
	Actor   Actor       `json:"actor"`
	Account AccountID   `json:"account,omitzero"`
	IP      string      `json:"ip,omitzero"`
	Agent   string      `json:"user_agent,omitzero"`
	Request RequestInfo `json:"request,omitzero"`

	// Once makes the command idempotent: apply keeps its result for 24 h and
	// answers a repeat with it.
	Once *Once `json:"once,omitzero"`
	// Match refuses the change with "precondition_failed" unless the target's
	// ETag (the Raft index of its last change) is this one; 0 does not ask.
	Match uint64 `json:"match,omitzero"`

	Init           *Init           `json:"init,omitzero"`
	KeyCreate      *KeyCreate      `json:"key_create,omitzero"`
	KeyUpdate      *KeyUpdate      `json:"key_update,omitzero"`
	KeyRotate      *KeyRotate      `json:"key_rotate,omitzero"`
	KeyRevoke      *KeyRevoke      `json:"key_revoke,omitzero"`
	KeyRevokeBulk  *KeyRevokeBulk  `json:"key_revoke_bulk,omitzero"`
	KeyImport      *KeyImport      `json:"key_import,omitzero"`
	AllowlistSet   *AllowlistSet   `json:"allowlist_set,omitzero"`
	AccountCreate  *AccountCreate  `json:"account_create,omitzero"`
	AccountUpdate  *AccountUpdate  `json:"account_update,omitzero"`
	AccountDelete  *AccountDelete  `json:"account_delete,omitzero"`
	TierPut        *TierPut        `json:"tier_put,omitzero"`
	TierDelete     *TierDelete     `json:"tier_delete,omitzero"`
	Grant          *Grant          `json:"grant,omitzero"`
	OperatorTokens *OperatorTokens `json:"operator_tokens,omitzero"`
	ClusterOpen    *ClusterOpen    `json:"cluster_open,omitzero"`
	MemberPut      *MemberPut      `json:"member_put,omitzero"`
	MemberRemove   *MemberRemove   `json:"member_remove,omitzero"`
	ClusterReset   *ClusterReset   `json:"cluster_reset,omitzero"`
}

// Once identifies a repeatable request: Scope is a hash of caller, method, path
// and Idempotency-Key; Body is a hash of the body.
type Once struct {
	Scope Hash `json:"scope"`
	Body  Hash `json:"body"`
}

// OnceRetention is how long a result is kept for its repeats.
const OnceRetention = 24 * time.Hour

// Init is the first command of a cluster's life; a second one is refused.
type Init struct {
	ClusterID     string `json:"cluster_id"`
	Pepper        Hash   `json:"pepper"`
	OperatorToken Hash   `json:"operator_token"` // SHA-256 of the token
	DefaultTier   string `json:"default_tier"`
}

// OperatorTokens replaces the set of operator tokens' SHA-256 hashes.
type OperatorTokens struct {
	Hashes []Hash `json:"hashes"`
}

// KeyCreate adds one key. Apply sets Created and Modified, and refuses a hash
// or id that exists.
type KeyCreate struct {
	Key Key `json:"key"`
}

// KeyUpdate changes the fields that are set; Clear names fields to empty, by
// their JSON names (expires_at, limits, max_cost_per_call, monthly_budget).
type KeyUpdate struct {
	ID             KeyID              `json:"id"`
	Name           *string            `json:"name,omitzero"`
	Environment    *string            `json:"environment,omitzero"`
	Scopes         *[]string          `json:"scopes,omitzero"`
	Disabled       *bool              `json:"disabled,omitzero"`
	ExpiresAt      *time.Time         `json:"expires_at,omitzero"`
	Limits         *Limits            `json:"limits,omitzero"`
	MaxCostPerCall *Money             `json:"max_cost_per_call,omitzero"`
	MonthlyBudget  *Money             `json:"monthly_budget,omitzero"`
	Allowlist      *[]netip.Prefix    `json:"allowlist,omitzero"`
	Routes         *[]string          `json:"routes,omitzero"`
	Metadata       *map[string]string `json:"metadata,omitzero"`
	Clear          []string           `json:"clear,omitzero"`
}

// KeyRotate adds New, a key with the settings of ID (apply copies them), and
// ends ID at OverlapEndsAt.
type KeyRotate struct {
	ID            KeyID     `json:"id"`
	New           KeyID     `json:"new"`
	Hash          Hash      `json:"hash"`
	Hint          string    `json:"hint"`
	OverlapEndsAt time.Time `json:"overlap_ends_at"`
}

// KeyRevoke revokes one key; revoking a revoked one changes nothing and succeeds.
type KeyRevoke struct {
	ID     KeyID  `json:"id"`
	Reason string `json:"reason,omitzero"`
}

// KeyRevokeBulk revokes every key of the account that passes all set filters.
// At least one filter is set. One command looks at [BulkRows] keys and revokes
// [BulkKeys] at most, so that the log never stands still; where it stopped is
// [Result.Next], and the proposer goes on with After set to it until Next is "".
type KeyRevokeBulk struct {
	IDs           []KeyID   `json:"ids,omitzero"`
	CreatedBy     string    `json:"created_by,omitzero"`
	Type          *KeyType  `json:"type,omitzero"`
	Environment   *string   `json:"environment,omitzero"`
	CreatedBefore time.Time `json:"created_before,omitzero"`
	Reason        string    `json:"reason,omitzero"`
	After         KeyID     `json:"after,omitzero"`
}

// The bounds of one [KeyRevokeBulk].
const (
	BulkKeys = 20_000
	BulkRows = 500_000
)

// KeyImport adds many keys (10,000 at most); a line that cannot be added is
// reported and does not stop the others.
type KeyImport struct {
	Keys  []Key `json:"keys"`
	Lines []int `json:"lines"` // the input line of each key
}

// AllowlistSet replaces the account's allowlist.
type AllowlistSet struct {
	Entries []AllowEntry `json:"entries"`
}

// AccountCreate adds an account.
type AccountCreate struct {
	Account Account `json:"account"`
}

// AccountUpdate changes the set fields of the command's account; Clear may name
// limits, test_limits, alert_thresholds and region.
type AccountUpdate struct {
	Name          *string      `json:"name,omitzero"`
	Tier          *string      `json:"tier,omitzero"`
	Region        *string      `json:"region,omitzero"`
	Limits        *Limits      `json:"limits,omitzero"`
	TestLimits    *Limits      `json:"test_limits,omitzero"`
	BrowserKeys   *BrowserKeys `json:"browser_keys,omitzero"`
	Alerts        *[]int       `json:"alert_thresholds,omitzero"`
	RetentionDays *int         `json:"retention_days,omitzero"`
	Clear         []string     `json:"clear,omitzero"`
}

// AccountDelete removes the command's account, its keys and its allowlist.
type AccountDelete struct{}

// TierPut adds or replaces a tier. Create refuses one that exists.
type TierPut struct {
	Tier   Tier `json:"tier"`
	Create bool `json:"create,omitzero"`
}

// TierDelete removes a tier that no account uses; the three built-in ones stay.
type TierDelete struct {
	Name string `json:"name"`
}

// Grant hands chunks of monthly quotas and budgets to a node ahead of use; one
// command carries the asks of some milliseconds. Each is granted in full or in
// part, never beyond the limit.
type Grant struct {
	Node string     `json:"node"`
	Asks []GrantAsk `json:"asks"`
}

// GrantAsk asks for N more units of one bucket's month. Limit is not part of
// it: apply reads the current one. Give returns units instead (a clean stop).
type GrantAsk struct {
	Account AccountID `json:"account"`
	Type    KeyType   `json:"type"`
	Key     KeyID     `json:"key,omitzero"` // empty: the account's bucket
	Budget  bool      `json:"budget,omitzero"`
	Month   int       `json:"month"` // months since year 0, UTC
	Want    int64     `json:"want,omitzero"`
	Give    int64     `json:"give,omitzero"`
}

// ClusterReset makes another cluster of this state: one that was restored from a
// backup, or recovered from a node that is left of it. It stands behind the old
// cluster's last entry in the log of the new one's first node, which writes it
// while nothing runs; nobody proposes it.
//
// The new id is what keeps the nodes of the old cluster out: they hold the same
// history, and could otherwise elect a leader of their own beside this one.
type ClusterReset struct {
	ClusterID string `json:"cluster_id"`
	Kind      string `json:"kind"` // ResetRestore or ResetRecover
	From      string `json:"from"` // the id that is given up
	// OperatorTokens, if there are any, replace those of the state.
	OperatorTokens []Hash `json:"operator_tokens,omitzero"`
	// Revoke names keys that are revoked in the same step: those that the lost
	// time had revoked, of any account. One that is unknown or revoked is passed
	// over; there are [ResetKeys] at most.
	Revoke []KeyID `json:"revoke,omitzero"`
	Reason string  `json:"reason,omitzero"` // of the audit event: what was lost, for people
}

// The kinds of a [ClusterReset].
const (
	ResetRestore = "restore"
	ResetRecover = "recover"
)

// ResetKeys bounds [ClusterReset.Revoke].
const ResetKeys = maxImport

// ResetReason is why a restore revokes a key, in the key and its audit event.
const ResetReason = "revoked between the backup and its restore"
