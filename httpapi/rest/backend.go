package rest

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Backend is the replicated store as a call sees it. The node implements it.
type Backend interface {
	// Propose hands cmd to the leader once and returns when every serving node
	// has applied it. A refusal by apply is in Receipt.Result.Refusal, not in the
	// error; errors are *fault.Error: no_leader, unknown_outcome or unavailable.
	Propose(ctx context.Context, cmd *store.Command) (Receipt, error)
	// Linearize returns once this node's state includes every write that was
	// answered before the call.
	Linearize(ctx context.Context) error
}

// Receipt is the outcome of a proposed command.
type Receipt struct {
	store.Result
	Revocation Revocation
}

// Revocation reports when a write that takes a right away became effective.
type Revocation struct {
	Index     uint64          `json:"index"`
	Effective bool            `json:"effective"`
	TookMS    int64           `json:"took_ms"`
	Nodes     []RevocationAck `json:"nodes"`
}

// RevocationAck is one node's part in a revocation: "applied", "lease_ended" or "unconfirmed".
type RevocationAck struct {
	Name string `json:"name"`
	How  string `json:"how"`
}

// ProposeTimeout bounds how long a write waits before its outcome is unknown.
const ProposeTimeout = 10 * time.Second
