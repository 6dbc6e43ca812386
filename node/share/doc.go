// Package share lets the nodes of a cluster spend limits together: it moves the messages
// of limiter/pool over the cluster port, and follows the roster of the nodes that share.
//
// A request that lacks tokens here waits in [Sharing.Fetch] for other nodes' answers. On a
// healthy network they come within 3 ms. After 12 ms the others are asked too, and after
// 250 ms a node is taken for unreachable: no request waits for it until it answers a
// greeting. Messages to one node are sent as soon as there are any, those of all
// buckets together; while calls are under way, more gather for the next one.
//
// # Processes
//
// Every message says which process it is from, by the node's id and its boot, and which
// process it is for. One that is for an earlier process of this node is not read. A peer
// of package limiter/share is such a process, so that nothing that one process lent is
// returned to its successor.
//
// # Leases
//
// Without a serving lease a node admits nothing (or, with cluster.when_isolated = "serve",
// spends what it has), lends nothing and renews nothing. [Sharing.Follow] takes a change
// of the roster over before the node reports the log entry as applied.
//
// # Goroutines and locks
//
// Run ticks and greets; each peer has a sender, and each call to it a goroutine, at most
// callsMax at a time; so has each greeting. Sharing.mu guards the peers. The lock of a shard of the pool is
// taken under it by no one, and neither is held while anything is waited for.
//
// # Wire
//
// The form is binary and versioned (wire.go). A node that does not know the call is one
// of an earlier version, and then there is no roster yet.
package share
