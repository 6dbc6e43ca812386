package replica

import (
	"github.com/perfgate/perfgate/store"
)

// Receipt is the outcome of a proposed command.
type Receipt struct {
	store.Result
	Revocation Revocation
}

// Revocation tells when a write that takes a right away came into force.
type Revocation struct {
	Index     uint64 // Raft index of the write
	Effective bool   // no serving node admits the old state any more
	TookMS    int64
	Nodes     []Ack // by name
}

// Ack is one node's part in a revocation.
type Ack struct {
	Name string
	How  string // "applied", "lease_ended" or "unconfirmed"
}

// Status describes a cluster.
type Status struct {
	ClusterID string
	Leader    string // its name; "" if there is none
	Term      uint64
	Nodes     []NodeStatus
	Healthy   bool // there are no reasons
	Reasons   []string
	Warnings  []string // faults with which the cluster is healthy
}

// FailureTolerance is how many more voters may fail before the cluster loses its
// majority; 0 without a leader.
func (s *Status) FailureTolerance() int {
	voters, there := 0, 0
	for _, n := range s.Nodes {
		if n.Role == "nonvoter" {
			continue
		}
		voters++
		if n.State != StateUnreachable {
			there++
		}
	}
	if s.Leader == "" {
		return 0
	}
	return max(0, there-(voters/2+1))
}

// The states of a node in a [Status].
const (
	StateReady       = "ready"
	StateStarting    = "starting"
	StateDraining    = "draining"
	StateUnreachable = "unreachable"
)

// NodeStatus is one node in a [Status].
type NodeStatus struct {
	Name         string
	Role         string // "leader", "voter" or "nonvoter"
	State        string // see the State constants
	AppliedIndex uint64
	LeaseMS      *int64 // nil on a lone node, and where only the leader could tell
	Version      string
	Region       string
	// LastContactMS is the time since the leader heard of the node; -1 if it has not.
	LastContactMS int64
}
