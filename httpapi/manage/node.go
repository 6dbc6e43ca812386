package manage

import (
	"context"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// Node is the cluster as the calls about it see it, and the state of the node
// that serves them. The node implements it.
type Node interface {
	Vault
	// Cluster describes the cluster, by the leader's report where it can be had.
	Cluster(ctx context.Context) ClusterStatus
	// TransferLeadership makes the node named to the leader, or with "" any other
	// than the present one. RemoveNode ends a node's membership and returns when the
	// node no longer serves. Without force, both refuse a change that leaves no
	// majority in contact. Errors are *fault.Error.
	TransferLeadership(ctx context.Context, to string, force bool, by store.Actor) error
	RemoveNode(ctx context.Context, name string, force bool, by store.Actor) (rest.Revocation, error)
	// Facts are what the node measures about itself.
	Facts() Facts
	// Ready is nil when the node is caught up, holds a serving lease and is not
	// draining; otherwise its text is the reason.
	Ready() error
}

// ClusterStatus is the answer of GET /v1/cluster.
type ClusterStatus struct {
	ClusterID string       `json:"cluster_id"`
	Leader    string       `json:"leader"`
	Term      uint64       `json:"term"`
	Nodes     []NodeStatus `json:"nodes"`
	Healthy   bool         `json:"healthy"`
	// FailureTolerance is how many more voters may fail before the majority is lost.
	FailureTolerance int      `json:"failure_tolerance"`
	Reasons          []string `json:"reasons"`
	// Warnings need attention but do not make a cluster unhealthy, such as data that
	// the node that answers has lost.
	Warnings []string `json:"warnings,omitempty"`
}

// NodeStatus is one node in [ClusterStatus]. LeaseMS is nil on a lone node,
// which needs no lease, and where only the leader could report it. LastContactMS
// is -1 for a node that the leader has not heard from yet.
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
