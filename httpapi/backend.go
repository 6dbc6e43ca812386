package httpapi

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Backend is what the API needs of the node that runs it.
type Backend interface {
	// Propose hands cmd to the leader once and returns when every serving node
	// has applied it. A refusal by apply is in Receipt.Result.Refusal, not in the
	// error; errors are *fault.Error: no_leader, unknown_outcome or unavailable.
	Propose(ctx context.Context, cmd *store.Command) (Receipt, error)
	// Linearize returns once this node's state includes every write that was
	// answered before the call.
	Linearize(ctx context.Context) error
	// Cluster describes the cluster: by the leader's word where it can be had.
	Cluster(ctx context.Context) ClusterStatus
	// TransferLeadership hands the leadership to the node called to, or with "" to
	// any other. Errors are *fault.Error, as they are of RemoveNode.
	TransferLeadership(ctx context.Context, to string, who store.Actor) error
	// RemoveNode ends a node's membership and returns when it serves no more.
	RemoveNode(ctx context.Context, name string, who store.Actor) (Revocation, error)
	// Ready is nil when the node is caught up, holds a serving lease and is not
	// draining; otherwise it says why not.
	Ready() error
}

// Receipt is the outcome of a proposed command.
type Receipt struct {
	store.Result
	Revocation Revocation
}

// Revocation tells when a write that takes a right away became effective.
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

// ClusterStatus is the answer of GET /v1/cluster.
type ClusterStatus struct {
	ClusterID string       `json:"cluster_id"`
	Leader    string       `json:"leader"`
	Term      uint64       `json:"term"`
	Nodes     []NodeStatus `json:"nodes"`
	Healthy   bool         `json:"healthy"`
	Reasons   []string     `json:"reasons"`
}

// NodeStatus is one node in [ClusterStatus]. LeaseMS is nil on a lone node,
// which needs no lease, and where only the leader could tell it. LastContactMS is
// -1 for a node that was not heard of yet.
type NodeStatus struct {
	Name          string `json:"name"`
	Role          string `json:"role"`  // leader, voter, nonvoter
	State         string `json:"state"` // ready, starting, draining, unreachable
	AppliedIndex  uint64 `json:"applied_index"`
	LeaseMS       *int64 `json:"lease_ms"`
	Version       string `json:"version"`
	Region        string `json:"region"`
	LastContactMS int64  `json:"last_contact_ms"`
}

// ProposeTimeout bounds how long a write waits before its outcome is unknown.
const ProposeTimeout = 10 * time.Second
