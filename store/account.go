package store

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/limiter"
)

// BrowserKeys is the rule for live keys that browsers send.
type BrowserKeys string

// The browser-key policies.
const (
	BrowserAllow BrowserKeys = "allow"
	BrowserAlert BrowserKeys = "alert" // the default: admitted, and counted as exposed
	BrowserBlock BrowserKeys = "block"
)

// AllowEntry is one line of an allowlist. Addresses are stored as prefixes of
// full length; IPv4-mapped IPv6 is stored as IPv4.
type AllowEntry struct {
	CIDR netip.Prefix `json:"cidr"`
	Note string       `json:"note"`
}

// Account owns keys, an allowlist and limits.
type Account struct {
	ID            AccountID   `json:"id"`
	Name          string      `json:"name"`
	Tier          string      `json:"tier"`
	Region        string      `json:"region,omitzero"`
	Limits        *Limits     `json:"limits,omitzero"`      // live keys; override the tier's
	TestLimits    *Limits     `json:"test_limits,omitzero"` // test keys; nil derives from Limits or the tier
	Rules         []LimitRule `json:"limit_rules,omitzero"` // in addition to the tier's; one of the same name replaces it
	BrowserKeys   BrowserKeys `json:"browser_keys"`
	Alerts        []int       `json:"alert_thresholds,omitzero"` // percent; nil: [DefaultAlerts]
	RetentionDays int         `json:"retention_days"`
	Suspended     bool        `json:"suspended,omitzero"` // no key of it is admitted
	KeyPolicy     *KeyPolicy  `json:"key_policy,omitzero"`
	CreatedAt     time.Time   `json:"created_at"`
	Created       uint64      `json:"created,omitzero"`
	Modified      uint64      `json:"modified,omitzero"`           // ETag of the account
	AllowModified uint64      `json:"allowlist_modified,omitzero"` // ETag of the allowlist
	Imports       []string    `json:"imports,omitzero"`            // prefixes of imported keys, sorted; see [KeyImport]
	// RulesCreated has the Raft index since which the count of each rule exists.
	RulesCreated map[string]uint64 `json:"limit_rules_created,omitzero"`
}

// Tier is a named set of limits and features. Burst nil means the minute limit.
type Tier struct {
	Name        string `json:"name"`
	Live        Limits `json:"live"`
	Test        Limits `json:"test"`
	IPAllowlist bool   `json:"ip_allowlist"`
	Created     uint64 `json:"created,omitzero"`
	Modified    uint64 `json:"modified,omitzero"`

	Rules        []LimitRule       `json:"limit_rules,omitzero"`
	RulesCreated map[string]uint64 `json:"limit_rules_created,omitzero"` // as Account.RulesCreated
}

// AccountState is the part of an account that admission reads, at one applied index. It
// is immutable; a change publishes a new one in the account's [Cell].
type AccountState struct {
	Account
	Limit    [keyTypes]limiter.Limit // by KeyType: tier and account resolved
	RuleSets [keyTypes]RuleSet       // the same
	// MaxConcurrent bounds the requests in flight of each key without a bound of its own,
	// on each node; 0: nothing does.
	MaxConcurrent [keyTypes]int64
	Allowlist     *bart.Lite // nil allows every address
	Features      Features
}

// DefaultAlerts are the thresholds of an account that has set none.
var DefaultAlerts = []int{80, 100}

// AlertThresholds are the percentages of a calendar window's limit of which an alert
// tells, in ascending order.
func (a *Account) AlertThresholds() []int {
	if a.Alerts == nil {
		return DefaultAlerts
	}
	return a.Alerts
}

// LowestAlert is the lowest of the thresholds; 0 if there is none.
func (a *Account) LowestAlert() int {
	if list := a.AlertThresholds(); len(list) > 0 {
		return slices.Min(list)
	}
	return 0
}

// Features are the features that an account's tier turns on.
type Features struct{ IPAllowlist bool }

// Cell is one account's place in memory: keys point to it for as long as the
// account exists. Load is lock-free.
type Cell struct {
	state atomic.Pointer[AccountState]
	// Meters count the account's traffic, by KeyType. They outlive every change
	// of the account's settings: only consumption is stored.
	Meters [keyTypes]*limiter.Meter
}

// Load returns the account's newest published state; nil after its deletion.
func (c *Cell) Load() *AccountState { return c.state.Load() }
