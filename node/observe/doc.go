// Package observe answers questions about requests over all nodes of the cluster.
//
// What requests did is in the local data of the nodes that served them. Each question is
// put to every member at once, for a bounded time; the answers are sums or newest values,
// so that their order does not matter. A member that does not answer is named in the
// result.
//
// A [Watcher] learns the habits of keys from the requests of this node, and finds what is
// far outside of them; see package insight. A finding that another node can refute is
// dropped.
//
// # Goroutines and locks
//
// [Watcher.Run] is one goroutine. Watcher.mu guards the engine; while it is held, habits are
// read and written. Everything else runs in its callers' goroutines, with one more for each node that is asked.
// absent.mu is held for a look-up.
package observe
