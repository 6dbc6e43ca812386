package client

import (
	"encoding/json"
	"time"
)

// Limits are requests per minute, units at once, and requests per calendar month.
// A nil limit of an account is its tier's; of a key or tier it is no limit.
type Limits struct {
	PerMinute *int64 `json:"requests_per_minute"`
	Burst     *int64 `json:"burst"`
	PerMonth  *int64 `json:"requests_per_month"`
	// MaxConcurrent bounds the requests in flight of a key on each node.
	MaxConcurrent *int64 `json:"max_concurrent,omitempty"`
}

// Key is a key as returned by the server. Amounts of money are exact decimals.
type Key struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Type        string   `json:"type"` // test, live
	Environment *string  `json:"environment"`
	Scopes      []string `json:"scopes"`
	State       string   `json:"state"` // active, disabled, rotating, revoked, expired
	Hint        string   `json:"hint"`
	Account     string   `json:"account"`
	Life
	Limits         *Limits           `json:"limits"`
	MaxCostPerCall *json.Number      `json:"max_cost_per_call"`
	MonthlyBudget  *json.Number      `json:"monthly_budget"`
	Allowlist      []string          `json:"allowlist"`
	Routes         []string          `json:"routes"`
	Metadata       map[string]string `json:"metadata"`

	// Secret is the key itself. It is set by creation and rotation; a repeat of
	// such a call sets SecretWithheld instead.
	Secret         *string `json:"key,omitempty"`
	SecretWithheld bool    `json:"secret_withheld,omitempty"`
	// Revocation is set by writes that may take a right away.
	Revocation *Revocation `json:"revocation,omitempty"`
	Chain
	// Warnings are set by a creation or change with scopes or routes that no route of
	// the proxy looks at.
	Warnings []string `json:"warnings,omitempty"`
}

// Chain is set by a revocation: the other keys of the key's rotations that are still
// accepted, and those that the call revoked too.
type Chain struct {
	StillValid  []string `json:"still_valid,omitempty"`
	AlsoRevoked []string `json:"also_revoked,omitempty"`
}

// Life is when a key was made and used, when and how it ends, and its rotations.
type Life struct {
	CreatedAt     time.Time  `json:"created_at"`
	CreatedBy     string     `json:"created_by"`
	ExpiresAt     *time.Time `json:"expires_at"`
	RotationDueAt time.Time  `json:"rotation_due_at"`
	LastUsedAt    *time.Time `json:"last_used_at"`
	LastUsedIP    *string    `json:"last_used_ip"`
	RevokedAt     *time.Time `json:"revoked_at"`
	RevokedBy     *string    `json:"revoked_by"`
	RevokeReason  *string    `json:"revoke_reason"`
	Replaces      *string    `json:"replaces"`
	ReplacedBy    *string    `json:"replaced_by"`
	OverlapEndsAt *time.Time `json:"overlap_ends_at"`
	Overlap       *Overlap   `json:"overlap"` // of a key that rotates, where one key is read
}

// Revocation describes when a write that takes a right away became effective.
type Revocation struct {
	Index     uint64 `json:"index"`
	Effective bool   `json:"effective"`
	TookMS    int64  `json:"took_ms"`
	Nodes     []struct {
		Name string `json:"name"`
		How  string `json:"how"` // applied, lease_ended, unconfirmed
	} `json:"nodes"`
}

// KeyNodes is the newest change of a key, and how far each node is with it.
type KeyNodes struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Index uint64 `json:"index"`
	Nodes []struct {
		Name string `json:"name"`
		How  string `json:"how"` // applied, waiting
	} `json:"nodes"`
}

// NewKey describes a key to create. Name and Type are required.
type NewKey struct {
	Name           string            `json:"name"`
	Type           string            `json:"type"`
	Environment    string            `json:"environment,omitempty"`
	Scopes         []string          `json:"scopes,omitempty"`
	ExpiresAt      *time.Time        `json:"expires_at,omitempty"`
	Limits         *Limits           `json:"limits,omitempty"`
	MaxCostPerCall *json.Number      `json:"max_cost_per_call,omitempty"`
	MonthlyBudget  *json.Number      `json:"monthly_budget,omitempty"`
	Allowlist      []string          `json:"allowlist,omitempty"`
	Routes         []string          `json:"routes,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
}

// Patch holds the members to change by their JSON names. A nil value clears a
// member.
type Patch map[string]any

// KeyFilter selects the keys that match every field that is set.
type KeyFilter struct {
	Type, State, Environment, Name, CreatedBy string
	Q                                         string // part of a name, id or hint
	Due                                       string // rotation or expiry within this duration, such as "14d"
	Sort                                      string // created_at, last_used_at, name or expires_at; "-" reverses
	Page
}

// BulkRevocation selects the keys that match every filter that is set. At least
// one must be set.
type BulkRevocation struct {
	IDs           []string   `json:"ids,omitempty"`
	CreatedBy     *string    `json:"created_by,omitempty"`
	Type          *string    `json:"type,omitempty"`
	Environment   *string    `json:"environment,omitempty"`
	CreatedBefore *time.Time `json:"created_before,omitempty"`
	Reason        *string    `json:"reason,omitempty"`
	DryRun        bool       `json:"dry_run,omitempty"`
}

// RevokedKeys is the outcome of a bulk revocation; Revoked is 0 after a dry run.
// StillValid are other keys of the same rotations, which are still accepted.
type RevokedKeys struct {
	Matched    int         `json:"matched"`
	Revoked    int         `json:"revoked"`
	DryRun     bool        `json:"dry_run"`
	IDs        []string    `json:"ids"`
	StillValid []string    `json:"still_valid"`
	Revocation *Revocation `json:"revocation"`
}

// ImportedLine is the outcome of one line of an import.
type ImportedLine struct {
	Line  int     `json:"line"`
	ID    *string `json:"id"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Warnings []string `json:"warnings"`
}

// VerifyRequest describes a request with Key. Empty fields are not judged.
type VerifyRequest struct {
	Key     string `json:"key"`
	IP      string `json:"ip,omitempty"`
	Method  string `json:"method,omitempty"`
	Host    string `json:"host,omitempty"`
	Path    string `json:"path,omitempty"`
	Units   *int64 `json:"units,omitempty"`
	Consume *bool  `json:"consume,omitempty"`
}

// Verdict is the proxy's decision about a request. Code is nil if the request would
// be admitted; RetryAfter is in seconds.
type Verdict struct {
	Valid   bool     `json:"valid"`
	Code    *string  `json:"code"`
	KeyID   *string  `json:"key_id"`
	Account *string  `json:"account"`
	Scopes  []string `json:"scopes"`
	Limits  map[string]struct {
		Limit     int64 `json:"limit"`
		Remaining int64 `json:"remaining"`
		Reset     int64 `json:"reset"` // Unix seconds
	} `json:"limits"`
	RetryAfter *int64 `json:"retry_after"`
}

// RateRequest charges a bucket of Limit units per Window, a Go duration.
type RateRequest struct {
	Namespace  string `json:"namespace,omitempty"`
	Identifier string `json:"identifier"`
	Limit      int64  `json:"limit"`
	Window     string `json:"window"`
	Burst      *int64 `json:"burst,omitempty"`
	Units      *int64 `json:"units,omitempty"`
}

// RateVerdict is the answer to a RateRequest. Reset is in Unix seconds, RetryAfter
// in seconds.
type RateVerdict struct {
	Allowed    bool   `json:"allowed"`
	Limit      int64  `json:"limit"`
	Remaining  int64  `json:"remaining"`
	Reset      int64  `json:"reset"`
	RetryAfter *int64 `json:"retry_after"`
}

// AllowEntry is one address or CIDR of an allowlist.
type AllowEntry struct {
	CIDR string `json:"cidr"`
	Note string `json:"note"`
}

// Allowlist is the allowlist of an account. ETag is set in answers.
type Allowlist struct {
	Entries []AllowEntry `json:"entries"`
	// Pending is set while the list is on trial: it is reverted unless it is confirmed in time.
	Pending *struct {
		ConfirmBy time.Time `json:"confirm_by"`
		SetAt     time.Time `json:"set_at"`
		SetBy     string    `json:"set_by"`
	} `json:"pending,omitempty"`
	Revocation *Revocation `json:"revocation,omitempty"`
	ETag       string      `json:"-"`
}

// AuditQuery selects audit events. StartDate and EndDate are dates (whole UTC
// days) or RFC 3339 times. Format is json, ndjson or csv, and Log account or operators.
type AuditQuery struct {
	StartDate, EndDate, Key, EventType, User, Action, Outcome, Log, Order, Format string

	BOM bool // of a CSV
	Page
}

// Event is one audit event.
type Event struct {
	ID        string    `json:"id"`
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	EventType string    `json:"event_type"`
	Action    string    `json:"action"`
	Actor     struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"actor"`
	Account   string          `json:"account"`
	KeyID     string          `json:"key_id"`
	Target    string          `json:"target"`
	Outcome   string          `json:"outcome"`
	Reason    string          `json:"reason"`
	IP        string          `json:"ip"`
	Country   string          `json:"country"`
	UserAgent string          `json:"user_agent"`
	Request   *EventRequest   `json:"request"`
	Changes   json.RawMessage `json:"changes"`
	Hash      string          `json:"hash"`
	Count     int             `json:"count"` // of equal refusals that the event stands for; 0 is one
}

// AuditHeads are signed heads of the audit log. Package chain reads them.
type AuditHeads struct {
	Account string            `json:"account"`
	Data    []json.RawMessage `json:"data"`
	Keys    []json.RawMessage `json:"keys"`
	Missing []json.RawMessage `json:"missing"`
}

// EventRequest is the HTTP request of an event.
type EventRequest struct {
	ID         string    `json:"id"`
	Method     string    `json:"method"`
	Path       string    `json:"path"` // as sent, without the query
	Route      string    `json:"route"`
	Upstream   string    `json:"upstream"` // base URL of the last attempt
	Attempts   int       `json:"attempts"` // at upstreams
	Errors     string    `json:"errors"`   // codes of the attempts that failed, with commas between them
	StartedAt  time.Time `json:"started_at"`
	Status     int       `json:"status"`
	DurationMS float64   `json:"duration_ms"`
	// Limits are the limit that refused the request, and the shadow rules that would have.
	Limits *EventLimits `json:"limits"`
}

// EventLimits are the policies that refused a request, or would have. Of the policy
// budget, Limit and Left are money.
type EventLimits struct {
	Policy      string      `json:"policy"` // "" if none refused it
	Limit       json.Number `json:"limit"`
	Left        json.Number `json:"left"`
	Shared      *EventShare `json:"shared"` // nil: Policy is not counted in units that nodes share
	WouldRefuse []string    `json:"would_refuse"`
}

// EventShare is where the units of a limit were that the nodes of a cluster share, when it
// refused a request, and how many questions about it the request made to other nodes.
type EventShare struct {
	Here      int64 `json:"here"`
	Elsewhere int64 `json:"elsewhere"`
	Asked     int   `json:"asked"`
}

// Account is an account as returned by the server.
type Account struct {
	ID            string      `json:"id"`
	Name          string      `json:"name"`
	Tier          string      `json:"tier"`
	Region        *string     `json:"region"`
	Limits        *Limits     `json:"limits"`
	LimitRules    []LimitRule `json:"limit_rules"`
	BrowserKeys   string      `json:"browser_keys"`
	Alerts        []int       `json:"alert_thresholds"`
	RetentionDays int         `json:"retention_days"`
	State         string      `json:"state"` // active, suspended
	KeyPolicy     *KeyPolicy  `json:"key_policy"`
	CreatedAt     time.Time   `json:"created_at"`
	Revocation    *Revocation `json:"revocation,omitempty"`
}

// NewAccount describes an account to create. Name is required.
type NewAccount struct {
	Name          string      `json:"name"`
	Tier          string      `json:"tier,omitempty"`
	Region        string      `json:"region,omitempty"`
	Limits        *Limits     `json:"limits,omitempty"`
	LimitRules    []LimitRule `json:"limit_rules,omitempty"`
	BrowserKeys   string      `json:"browser_keys,omitempty"`
	Alerts        []int       `json:"alert_thresholds,omitempty"`
	RetentionDays int         `json:"retention_days,omitempty"`
	KeyPolicy     *KeyPolicy  `json:"key_policy,omitempty"`
}

// KeyPolicy binds the keys of an account.
type KeyPolicy struct {
	MaxTTL     *string `json:"max_ttl"` // in Go's syntax: 2160h
	MustExpire bool    `json:"must_expire"`
	MaxKeys    *int    `json:"max_keys"`
}

// Tier is a named set of limits and features.
type Tier struct {
	Name       string      `json:"name"`
	Live       Limits      `json:"live"`
	Test       Limits      `json:"test"`
	Features   Features    `json:"features"`
	LimitRules []LimitRule `json:"limit_rules,omitempty"`
	Revocation *Revocation `json:"revocation,omitempty"`
}

// Features are the features that a tier enables.
type Features struct {
	IPAllowlist bool `json:"ip_allowlist"`
}

// Deleted is the answer to a deletion.
type Deleted struct {
	ID         string      `json:"id"`
	Deleted    bool        `json:"deleted"`
	Revocation *Revocation `json:"revocation"`
}

// Cluster is the state of the cluster as seen by one node. LeaseMS is the rest of a
// lease, LastContactMS the time since the last contact or -1, both in ms.
type Cluster struct {
	ClusterID string `json:"cluster_id"`
	Leader    string `json:"leader"`
	Term      uint64 `json:"term"`
	Healthy   bool   `json:"healthy"`
	// FailureTolerance is how many more voters may fail before the majority is lost.
	FailureTolerance int      `json:"failure_tolerance"`
	Reasons          []string `json:"reasons"`
	Warnings         []string `json:"warnings"`
	Nodes            []struct {
		Name          string `json:"name"`
		Role          string `json:"role"`
		State         string `json:"state"`
		AppliedIndex  uint64 `json:"applied_index"`
		LeaseMS       *int64 `json:"lease_ms"`
		Version       string `json:"version"`
		Region        string `json:"region"`
		LastContactMS int64  `json:"last_contact_ms"`
	} `json:"nodes"`
}

// Health is the answer of a probe.
type Health struct {
	Status string  `json:"status"` // ok, unavailable
	Reason *string `json:"reason"`
}
