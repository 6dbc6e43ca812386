// Package cluster is the coordinator of a node that is one of several: it decides
// which nodes serve, brings writes to the leader, waits until they are in force
// everywhere, and keeps the membership. Raft, in package replica, keeps the state
// equal; this package uses it through [replica.Replica] and implements
// [replica.Coordinator].
//
// The idea is the serving lease (package lease). A node admits requests only while
// it holds a lease, which the leader grants and the node renews ten times within
// its duration. A write that takes a right away answers when each node has applied
// it or its lease has ended by itself, so that a node without contact stops in
// time, and no clocks need to agree.
//
// # Parts
//
// [Cluster] only puts the parts together. In the order of their arrows, each knows
// those before it:
//
//   - node: this node's settings, replica and mesh
//   - clocks: this node's wall clock against the others'
//   - peers: gossip, addresses, the leader
//   - leadership: lease table, reports of nodes and moments of this node's term
//   - holder: this node's own lease, with renewals and reports
//   - certificates, membership, reconciler: credentials, joining, removal, upkeep
//   - recalls: units of months that nodes hold and do not need, brought back
//   - sharing: the roster of the nodes that share limits, announced and settled by the
//     leader's reconciler, and the calls of package node/share
//   - diagnosis, status: the reason for a missing lease, the picture for operators
//   - settlements: the wait until a write is in force, at the next leader if need be
//   - server: the answers to other nodes' calls
//
// Notices tell followers of a commit on a connection of their own; a noticeReader
// takes them. The carrier is Raft's transport over the mesh.
//
// # Start and stop
//
// Enter opens the cluster port first, since other nodes ask this one for
// information while it looks for its place; it forms a cluster, joins one, or goes
// on with the certificate that it has. Start, once Raft runs, answers calls and join
// requests and begins the goroutines below. Farewell goes by dependence: the lease
// is given back after the last request, then leadership is handed over, then the
// node leaves the gossip. Close ends gossip and mesh after all goroutines that use
// Raft; goroutines that only read connections end with the mesh.
//
// # Goroutines
//
// Renewals, reports, the reconciler, the diagnosis, recalls, the overseer and the observer of new leaders
// are one goroutine each and end with the context of Start; renewals have up to
// renewalsMax more under way. Notices have one goroutine for each server, and one
// that reads its answers. The noticeReader has two for each leader's connection.
// Calls of other nodes run in goroutines of the mesh.
//
// # Locks
//
// membership.removals is taken first, then membership.joins, and both are held across
// writes and changes of Raft's configuration; one node joins at a time. leadership.terms
// is held while a term begins, and to read while a message of a term is taken; the lock
// inside [lease.Table] and reports.mu are taken under it. peers.hearing is held while the
// view of gossip is taken over, with the lock inside [mesh.Members] under it, and
// founding.mu while the file of the founding is removed. notices.mu, matches.mu,
// reports.mu, recalls.mu and troubles.mu are leaves, as are the locks inside
// [lease.Table] and [mesh.Members]. All other shared fields are atomics; the hot path,
// Serving, reads these only.
//
// # Wire
//
// Calls are JSON over the mesh, with structs of this package (wire.go): those of
// the public API may change without breaking a rolling upgrade.
package cluster
