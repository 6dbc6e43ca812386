package client

import (
	"encoding/json"
	"time"
)

// Limits are requests a minute, units at once, requests a calendar month; nil
// leaves the tier's (account) or sets none (key, tier).
type Limits struct {
	PerMinute *int64 `json:"requests_per_minute"`
	Burst     *int64 `json:"burst"`
	PerMonth  *int64 `json:"requests_per_month"`
}

// Key is a key as the server shows it. Amounts of money are exact decimals.
type Key struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	Type           string            `json:"type"` // test, live
	Environment    *string           `json:"environment"`
	Scopes         []string          `json:"scopes"`
	State          string            `json:"state"` // active, disabled, rotating, revoked, expired
	Hint           string            `json:"hint"`
	Account        string            `json:"account"`
	CreatedAt      time.Time         `json:"created_at"`
	CreatedBy      string            `json:"created_by"`
	ExpiresAt      *time.Time        `json:"expires_at"`
	RotationDueAt  time.Time         `json:"rotation_due_at"`
	LastUsedAt     *time.Time        `json:"last_used_at"`
	LastUsedIP     *string           `json:"last_used_ip"`
	RevokedAt      *time.Time        `json:"revoked_at"`
	RevokedBy      *string           `json:"revoked_by"`
	RevokeReason   *string           `json:"revoke_reason"`
	Replaces       *string           `json:"replaces"`
	ReplacedBy     *string           `json:"replaced_by"`
	Limits         *Limits           `json:"limits"`
	MaxCostPerCall *json.Number      `json:"max_cost_per_call"`
	MonthlyBudget  *json.Number      `json:"monthly_budget"`
	Allowlist      []string          `json:"allowlist"`
	Routes         []string          `json:"routes"`
	Metadata       map[string]string `json:"metadata"`

	// Secret is the key itself: set by creation and rotation, nil elsewhere and in
	// a repeat of them, which says so in SecretWithheld.
	Secret         *string `json:"key,omitempty"`
	SecretWithheld bool    `json:"secret_withheld,omitempty"`
	// Revocation is set by writes that may take a right away.
	Revocation *Revocation `json:"revocation,omitempty"`
}

// Revocation tells when such a write became effective.
type Revocation struct {
	Index     uint64 `json:"index"`
	Effective bool   `json:"effective"`
	TookMS    int64  `json:"took_ms"`
	Nodes     []struct {
		Name string `json:"name"`
		How  string `json:"how"` // applied, lease_ended, unconfirmed
	} `json:"nodes"`
}

// NewKey describes a key to be made; Name and Type are required.
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

// Patch holds the members to change by their JSON names; a nil value clears one.
type Patch map[string]any

// KeyFilter selects keys; zero fields select all.
type KeyFilter struct {
	Type, State, Environment, Name, CreatedBy string
	Page
}

// BulkRevocation selects keys by every filter that is set; one must be.
type BulkRevocation struct {
	IDs           []string   `json:"ids,omitempty"`
	CreatedBy     *string    `json:"created_by,omitempty"`
	Type          *string    `json:"type,omitempty"`
	Environment   *string    `json:"environment,omitempty"`
	CreatedBefore *time.Time `json:"created_before,omitempty"`
	Reason        *string    `json:"reason,omitempty"`
	DryRun        bool       `json:"dry_run,omitempty"`
}

// RevokedKeys counts what a bulk revocation did, or would do.
type RevokedKeys struct {
	Matched    int         `json:"matched"`
	Revoked    int         `json:"revoked"`
	DryRun     bool        `json:"dry_run"`
	IDs        []string    `json:"ids"`
	Revocation *Revocation `json:"revocation"`
}

// ImportedLine is the fate of one line of an import.
type ImportedLine struct {
	Line  int     `json:"line"`
	ID    *string `json:"id"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// VerifyRequest asks for the proxy's verdict on a request with Key; what is left
// empty is not judged.
type VerifyRequest struct {
	Key     string `json:"key"`
	IP      string `json:"ip,omitempty"`
	Method  string `json:"method,omitempty"`
	Path    string `json:"path,omitempty"`
	Units   *int64 `json:"units,omitempty"`
	Consume *bool  `json:"consume,omitempty"`
}

// Verdict is the proxy's. Code is nil if the key may pass.
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

// RateRequest charges a bucket of the caller's own: Limit units in each Window.
type RateRequest struct {
	Namespace  string `json:"namespace,omitempty"`
	Identifier string `json:"identifier"`
	Limit      int64  `json:"limit"`
	Window     string `json:"window"`
	Burst      *int64 `json:"burst,omitempty"`
	Units      *int64 `json:"units,omitempty"`
}

// RateVerdict is its answer. Reset is Unix seconds, RetryAfter seconds.
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

// Allowlist is an account's; ETag is set by reads and changes.
type Allowlist struct {
	Entries    []AllowEntry `json:"entries"`
	Revocation *Revocation  `json:"revocation,omitempty"`
	ETag       string       `json:"-"`
}

// UsageQuery selects usage. From and To are dates or RFC 3339 times.
type UsageQuery struct {
	From, To, Step, Key, Type, Environment, GroupBy string
}

// UsageRow is one step of one group.
type UsageRow struct {
	Time     time.Time   `json:"time"`
	Group    *string     `json:"group"`
	Requests int64       `json:"requests"`
	Denied   int64       `json:"denied"`
	Units    int64       `json:"units"`
	Cost     json.Number `json:"cost"`
	Billable int64       `json:"billable"`
}

// AuditQuery selects audit events. StartDate and EndDate are dates (whole UTC
// days) or RFC 3339 times. Format is json, ndjson or csv.
type AuditQuery struct {
	StartDate, EndDate, Key, EventType, User, Action, Outcome, Format string
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
	Account   string `json:"account"`
	KeyID     string `json:"key_id"`
	Target    string `json:"target"`
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason"`
	IP        string `json:"ip"`
	Country   string `json:"country"`
	UserAgent string `json:"user_agent"`
	Request   *struct {
		ID         string  `json:"id"`
		Method     string  `json:"method"`
		Route      string  `json:"route"`
		Status     int     `json:"status"`
		DurationMS float64 `json:"duration_ms"`
	} `json:"request"`
	Changes json.RawMessage `json:"changes"`
	Hash    string          `json:"hash"`
}

// Account is an account as the server shows it.
type Account struct {
	ID            string      `json:"id"`
	Name          string      `json:"name"`
	Tier          string      `json:"tier"`
	Region        *string     `json:"region"`
	Limits        *Limits     `json:"limits"`
	BrowserKeys   string      `json:"browser_keys"`
	Alerts        []int       `json:"alert_thresholds"`
	RetentionDays int         `json:"retention_days"`
	CreatedAt     time.Time   `json:"created_at"`
	Revocation    *Revocation `json:"revocation,omitempty"`
}

// NewAccount describes an account to be made; Name is required.
type NewAccount struct {
	Name          string  `json:"name"`
	Tier          string  `json:"tier,omitempty"`
	Region        string  `json:"region,omitempty"`
	Limits        *Limits `json:"limits,omitempty"`
	BrowserKeys   string  `json:"browser_keys,omitempty"`
	Alerts        []int   `json:"alert_thresholds,omitempty"`
	RetentionDays int     `json:"retention_days,omitempty"`
}

// Tier is a named set of limits and features.
type Tier struct {
	Name       string      `json:"name"`
	Live       Limits      `json:"live"`
	Test       Limits      `json:"test"`
	Features   Features    `json:"features"`
	Revocation *Revocation `json:"revocation,omitempty"`
}

// Features are what a tier turns on.
type Features struct {
	IPAllowlist bool `json:"ip_allowlist"`
}

// Deleted answers the removal of a thing.
type Deleted struct {
	ID         string      `json:"id"`
	Deleted    bool        `json:"deleted"`
	Revocation *Revocation `json:"revocation"`
}

// Cluster is the cluster as one node sees it.
type Cluster struct {
	ClusterID string   `json:"cluster_id"`
	Leader    string   `json:"leader"`
	Term      uint64   `json:"term"`
	Healthy   bool     `json:"healthy"`
	Reasons   []string `json:"reasons"`
	Nodes     []struct {
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
