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
type Command struct {
	At      time.Time   `json:"at"`
	Actor   Actor       `json:"actor"`
	Account AccountID   `json:"account,omitempty"`
	IP      string      `json:"ip,omitempty"`
	Agent   string      `json:"user_agent,omitempty"`
	Request RequestInfo `json:"request,omitzero"`

	// Once makes the command idempotent: apply keeps its result for 24 h and
	// answers a repeat with it.
	Once *Once `json:"once,omitempty"`
	// Match refuses the change with "precondition_failed" unless the target's
	// ETag (the Raft index of its last change) is this one; 0 does not ask.
	Match uint64 `json:"match,omitempty"`

	Init           *Init           `json:"init,omitempty"`
	KeyCreate      *KeyCreate      `json:"key_create,omitempty"`
	KeyUpdate      *KeyUpdate      `json:"key_update,omitempty"`
	KeyRotate      *KeyRotate      `json:"key_rotate,omitempty"`
	KeyRevoke      *KeyRevoke      `json:"key_revoke,omitempty"`
	KeyRevokeBulk  *KeyRevokeBulk  `json:"key_revoke_bulk,omitempty"`
	KeyImport      *KeyImport      `json:"key_import,omitempty"`
	AllowlistSet   *AllowlistSet   `json:"allowlist_set,omitempty"`
	AccountCreate  *AccountCreate  `json:"account_create,omitempty"`
	AccountUpdate  *AccountUpdate  `json:"account_update,omitempty"`
	AccountDelete  *AccountDelete  `json:"account_delete,omitempty"`
	TierPut        *TierPut        `json:"tier_put,omitempty"`
	TierDelete     *TierDelete     `json:"tier_delete,omitempty"`
	Grant          *Grant          `json:"grant,omitempty"`
	OperatorTokens *OperatorTokens `json:"operator_tokens,omitempty"`
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
	Name           *string            `json:"name,omitempty"`
	Environment    *string            `json:"environment,omitempty"`
	Scopes         *[]string          `json:"scopes,omitempty"`
	Disabled       *bool              `json:"disabled,omitempty"`
	ExpiresAt      *time.Time         `json:"expires_at,omitempty"`
	Limits         *Limits            `json:"limits,omitempty"`
	MaxCostPerCall *Money             `json:"max_cost_per_call,omitempty"`
	MonthlyBudget  *Money             `json:"monthly_budget,omitempty"`
	Allowlist      *[]netip.Prefix    `json:"allowlist,omitempty"`
	Routes         *[]string          `json:"routes,omitempty"`
	Metadata       *map[string]string `json:"metadata,omitempty"`
	Clear          []string           `json:"clear,omitempty"`
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
	Reason string `json:"reason,omitempty"`
}

// KeyRevokeBulk revokes every key of the account that passes all set filters.
// At least one filter is set.
type KeyRevokeBulk struct {
	IDs           []KeyID   `json:"ids,omitempty"`
	CreatedBy     string    `json:"created_by,omitempty"`
	Type          *KeyType  `json:"type,omitempty"`
	Environment   *string   `json:"environment,omitempty"`
	CreatedBefore time.Time `json:"created_before,omitzero"`
	Reason        string    `json:"reason,omitempty"`
}

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

// AccountUpdate changes the set fields of the command's account; Clear may name "limits".
type AccountUpdate struct {
	Name          *string      `json:"name,omitempty"`
	Tier          *string      `json:"tier,omitempty"`
	Region        *string      `json:"region,omitempty"`
	Limits        *Limits      `json:"limits,omitempty"`
	BrowserKeys   *BrowserKeys `json:"browser_keys,omitempty"`
	Alerts        *[]int       `json:"alert_thresholds,omitempty"`
	RetentionDays *int         `json:"retention_days,omitempty"`
	Clear         []string     `json:"clear,omitempty"`
}

// AccountDelete removes the command's account, its keys and its allowlist.
type AccountDelete struct{}

// TierPut adds or replaces a tier. Create refuses one that exists.
type TierPut struct {
	Tier   Tier `json:"tier"`
	Create bool `json:"create,omitempty"`
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
	Key     KeyID     `json:"key,omitempty"` // empty: the account's bucket
	Budget  bool      `json:"budget,omitempty"`
	Month   int       `json:"month"` // months since year 0, UTC
	Want    int64     `json:"want,omitempty"`
	Give    int64     `json:"give,omitempty"`
}

// Reason is why apply refused a command; the same words are the API's fault codes.
type Reason string

// The reasons.
const (
	NotFound            Reason = "not_found"
	Conflict            Reason = "conflict"
	PreconditionFailed  Reason = "precondition_failed"
	IdempotencyMismatch Reason = "idempotency_mismatch"
	FeatureNotInTier    Reason = "feature_not_in_tier"
	InvalidValue        Reason = "invalid_value"
	LimitReached        Reason = "limit_reached"
)

// Refusal is apply's "no": the command changed nothing. Field names the
// offending member for [InvalidValue].
type Refusal struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

func (r *Refusal) Error() string { return r.Message }

// Result is what apply answers; it never holds a secret. Exactly one of the
// value fields is set on success.
type Result struct {
	// Index is the Raft index whose application made the answer true: for a
	// repeat, the stored one.
	Index   uint64   `json:"index"`
	Repeat  bool     `json:"-"` // answered from the result stored under Once
	Refusal *Refusal `json:"refusal,omitempty"`

	Key       *Key         `json:"key,omitempty"`
	Keys      []KeyID      `json:"keys,omitempty"`    // bulk revocation: newly revoked
	Matched   int          `json:"matched,omitempty"` // bulk revocation
	Lines     []ImportLine `json:"lines,omitempty"`
	Account   *Account     `json:"account,omitempty"`
	Tier      *Tier        `json:"tier,omitempty"`
	Allowlist []AllowEntry `json:"allowlist,omitempty"`
	Granted   []Granted    `json:"granted,omitempty"` // one for each ask, in order
}

// ImportLine is the fate of one imported line.
type ImportLine struct {
	Line  int    `json:"line"`
	ID    KeyID  `json:"id,omitempty"`
	Error string `json:"error,omitempty"`
}

// Granted answers a [GrantAsk]: N units more for the asking node, Total granted
// to all nodes in that month so far.
type Granted struct {
	N     int64 `json:"n"`
	Total int64 `json:"total"`
}

// Month counts calendar months, UTC: year*12 + month-1.
func Month(t time.Time) int {
	t = t.UTC()
	return t.Year()*12 + int(t.Month()) - 1
}
