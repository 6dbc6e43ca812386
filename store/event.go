package store

import (
	"cmp"
	"encoding/json"
	"time"
)

// ActorType is the kind of caller that acted.
type ActorType string

// The actor types.
const (
	ActorKey      ActorType = "key"
	ActorUser     ActorType = "user"
	ActorOperator ActorType = "operator"
	ActorSystem   ActorType = "system"
)

// Actor is the caller that did something. Where no caller was recognised, Type and ID are
// empty, and Name is the hint of the credential that was refused, if one was sent.
type Actor struct {
	Type ActorType `json:"type"`
	ID   string    `json:"id"`
	Name string    `json:"name,omitzero"`
}

// EventType classifies an audit event by its effect on its target.
type EventType string

// The event types. Proxied GET, HEAD and OPTIONS are reads, POST creates, PUT
// and PATCH updates, DELETE deletes.
const (
	EventCreate EventType = "create"
	EventRead   EventType = "read"
	EventUpdate EventType = "update"
	EventDelete EventType = "delete"
)

// Outcome is how an audited action ended.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Denied  Outcome = "denied"
	Failed  Outcome = "error"
)

// RequestInfo is the HTTP request of an event or a command.
type RequestInfo struct {
	ID         string  `json:"id,omitzero"`
	Method     string  `json:"method,omitzero"`
	Route      string  `json:"route,omitzero"` // the route's pattern, never the raw path
	Status     int     `json:"status,omitzero"`
	DurationMS float64 `json:"duration_ms,omitzero"`
}

// EventRequest is the HTTP request of an event. An event of a change is written before the
// answer: of it only the parts are there that its command has.
type EventRequest struct {
	RequestInfo
	Path     string `json:"path,omitzero"`     // as sent, without the query
	Upstream string `json:"upstream,omitzero"` // base URL of the last attempt
	Attempts int    `json:"attempts,omitzero"` // at upstreams
	Errors   string `json:"errors,omitzero"`   // codes of the attempts that failed, with commas between them
	// StartedAt is when the request came; the event's own time is when it was written.
	StartedAt time.Time `json:"started_at,omitzero"`
	// Limits are the policies that had a say in it; nil if none refused it or would have.
	Limits *EventLimits `json:"limits,omitzero"`
}

// EventLimits are the policies that refused a request, or would have.
type EventLimits struct {
	Policy      string   `json:"policy,omitzero"` // that refused it; "" if none did
	Limit       int64    `json:"limit,omitzero"`  // of it: units, or billionths of a budget
	Left        int64    `json:"left,omitzero"`
	WouldRefuse []string `json:"would_refuse,omitzero"` // names of shadow rules
	// Shared is set where Policy counts units that the nodes of a cluster spend together.
	Shared *EventShare `json:"shared,omitzero"`
}

// EventShare is where the units of a shared limit were when it refused a request.
type EventShare struct {
	Here      int64 `json:"here"`
	Elsewhere int64 `json:"elsewhere"` // by the other nodes' last words
	Asked     int   `json:"asked"`     // questions to other nodes that the request made
}

// Event is one audit event, with the names that the management API shows. Events of
// changes are written by apply; events of requests and denials by store/local.
type Event struct {
	ID        string          `json:"id"`  // "evt_…", unique over all nodes
	Seq       uint64          `json:"seq"` // unique in the stream; see [chain.StreamOf]
	Time      time.Time       `json:"time"`
	EventType EventType       `json:"event_type"`
	Action    string          `json:"action"` // "key.create", "request", …
	Actor     Actor           `json:"actor"`
	Account   AccountID       `json:"account"`
	KeyID     KeyID           `json:"key_id,omitzero"`
	Target    string          `json:"target,omitzero"`
	Outcome   Outcome         `json:"outcome"`
	Reason    string          `json:"reason,omitzero"` // a fault code or the caller's words
	IP        string          `json:"ip,omitzero"`
	Country   string          `json:"country,omitzero"`
	UserAgent string          `json:"user_agent,omitzero"`
	Request   *EventRequest   `json:"request,omitzero"`
	Changes   json.RawMessage `json:"changes,omitzero"` // {"before":…,"after":…}
	Count     uint32          `json:"count,omitzero"`   // of equal refusals that the event stands for; 0 is one
	Hash      string          `json:"hash,omitzero"`    // see [Event.Leaf]; none of events from before the chain
}

// Operators stands in a query, and among the accounts of a sink, for the log of the operators:
// the events that belong to no account. Those events themselves have the account "".
const Operators AccountID = "operators"

// OfEvents is the account that the events of a log have: "" in that of [Operators].
func (a AccountID) OfEvents() AccountID {
	if a == Operators {
		return ""
	}
	return a
}

// EventQuery selects audit events of one account, or of [Operators]. Zero fields select all.
type EventQuery struct {
	Account AccountID
	// WithOperators adds the log of the operators to that of the account.
	WithOperators bool `json:",omitzero"`

	From      time.Time // inclusive
	To        time.Time // exclusive
	Key       KeyID
	EventType EventType
	User      string // the actor's id or name
	Action    string
	Outcome   Outcome
	After     EventPos // resume after this position; zero begins at the first
	Newest    bool     // in the reverse order, the newest event first
	// Page is how many events the reader takes at most; 0: all. It selects nothing: other
	// nodes need not send more.
	Page int `json:",omitzero"`
}

// Logs splits q into one query for each log that it selects from.
func (q EventQuery) Logs() []EventQuery {
	if !q.WithOperators {
		return []EventQuery{q}
	}
	q.WithOperators = false
	operators := q
	operators.Account = Operators
	return []EventQuery{q, operators}
}

// EventPos is the place of an event in the order of a query: by time, then id.
type EventPos struct {
	Time time.Time `json:"t"`
	ID   string    `json:"i"`
}

// Matches reports whether e belongs to q's answer, position included.
func (q *EventQuery) Matches(e *Event) bool {
	switch {
	case q.Account != "" && e.Account != q.Account.OfEvents() && (!q.WithOperators || e.Account != ""),
		!q.From.IsZero() && e.Time.Before(q.From),
		!q.To.IsZero() && !e.Time.Before(q.To),
		q.Key != "" && e.KeyID != q.Key,
		q.EventType != "" && e.EventType != q.EventType,
		q.User != "" && e.Actor.ID != q.User && e.Actor.Name != q.User,
		q.Action != "" && e.Action != q.Action,
		q.Outcome != "" && e.Outcome != q.Outcome:
		return false
	}
	if q.After == (EventPos{}) {
		return true
	}
	c := e.Time.Compare(q.After.Time)
	if c == 0 {
		c = cmp.Compare(e.ID, q.After.ID)
	}
	if q.Newest {
		return c < 0
	}
	return c > 0
}
