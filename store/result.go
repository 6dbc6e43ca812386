package store

import "time"

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
	WouldLockOut        Reason = "would_lock_out"
	InvalidCredentials  Reason = "invalid_credentials"
)

// Refusal is apply's "no": the command changed nothing. Field names the
// offending member for [InvalidValue].
type Refusal struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	Field   string `json:"field,omitzero"`
}

func (r *Refusal) Error() string { return r.Message }

// Result is the answer of apply; it never holds a secret. Exactly one of the
// value fields is set on success.
type Result struct {
	// Index is the Raft index of the entry that made the answer true: for a
	// repeat, the stored one.
	Index   uint64   `json:"index"`
	Repeat  bool     `json:"-"` // answered from the result stored under Once
	Refusal *Refusal `json:"refusal,omitzero"`

	Key       *Key         `json:"key,omitzero"`
	Keys      []KeyID      `json:"keys,omitzero"`    // bulk revocation: newly revoked
	Matched   int          `json:"matched,omitzero"` // bulk revocation
	Next      KeyID        `json:"next,omitzero"`    // bulk revocation: not done, go on after this key
	Lines     []ImportLine `json:"lines,omitzero"`
	Account   *Account     `json:"account,omitzero"`
	Tier      *Tier        `json:"tier,omitzero"`
	Allowlist []AllowEntry `json:"allowlist,omitzero"`
	Granted   []Granted    `json:"granted,omitzero"` // one for each ask, in order

	OperatorToken *OperatorToken `json:"operator_token,omitzero"`
	User          *User          `json:"user,omitzero"`
	Session       *Session       `json:"session,omitzero"`
	Link          *Link          `json:"link,omitzero"`
	Webhook       *Webhook       `json:"webhook,omitzero"`  // without its secrets
	Delivery      string         `json:"delivery,omitzero"` // of a test call, or the last one that was queued again
	Incident      *Incident      `json:"incident,omitzero"`
	Erasure       *Erasure       `json:"erasure,omitzero"`
}

// ImportLine is the fate of one imported line.
type ImportLine struct {
	Line  int    `json:"line"`
	ID    KeyID  `json:"id,omitzero"`
	Error string `json:"error,omitzero"`
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
