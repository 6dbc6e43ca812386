package store

import "time"

// Command is one entry of the replicated log: the actor, the time, the account
// and exactly one change. Everything that is not deterministic (ids, hashes of
// secrets, times) is settled before it is proposed.
//
// The wire form is one version byte and JSON, written by [Command.Encode] alone.
// Optional members are tagged omitzero, never omitempty: the latter drops a
// pointer to an empty value, and with it a change to "nothing".
type Command struct {
	At      time.Time      `json:"at"`
	Actor   Actor          `json:"actor"`
	Account AccountID      `json:"account,omitzero"`
	IP      string         `json:"ip,omitzero"`
	Agent   string         `json:"user_agent,omitzero"`
	Request CommandRequest `json:"request,omitzero"`

	// Once makes the command idempotent: apply keeps its result for 24 h and
	// answers a repeat with it.
	Once *Once `json:"once,omitzero"`
	// Match refuses the change with "precondition_failed" unless the target's
	// ETag (the Raft index of its last change) is this one; 0 does not ask.
	Match uint64 `json:"match,omitzero"`

	// Stamp is the leader's, from the entry; it is no part of the command's wire form.
	Stamp Stamp `json:"-"`

	// Change is the change itself, of one of the registered kinds. On the wire it is a
	// member named like its kind.
	Change Change `json:"-"`
}

// CommandRequest is the HTTP request that a command came with. Its answer is not known yet.
type CommandRequest struct {
	RequestInfo
	// Path and StartedAt are known to nodes from LevelOfPaths on.
	Path      string    `json:"path,omitzero"`
	StartedAt time.Time `json:"started_at,omitzero"`
}

// LevelOfPaths is the level of nodes that keep the path of a change's request and when it came.
const LevelOfPaths = 8

// Until returns what nodes of a level know of a request.
func (r CommandRequest) Until(level int) CommandRequest {
	if level < LevelOfPaths {
		r.Path, r.StartedAt = "", time.Time{}
	}
	return r
}

// Once identifies a repeatable request: Scope is a hash of caller, method, path
// and Idempotency-Key; Body is a hash of the body.
type Once struct {
	Scope Hash `json:"scope"`
	Body  Hash `json:"body"`
}

// OnceRetention is how long a result is kept for its repeats.
const OnceRetention = 24 * time.Hour
