// Package node assembles a running server and owns its life: start, reload and
// stop. It is the only package that knows both the HTTP side and the cluster.
//
// [Open] takes these steps. Each registers its own undoing; a failed start and a
// stop undo the steps taken, last first, each within a bound.
//
//  1. Data directory: locked before anything reads or writes it, so that no two
//     processes ever share state or use the same identity.
//  2. Keys of the encrypted data: a wrong one is an error before anything is changed.
//  3. Listeners: certificates are read and addresses bound before the state is
//     opened, which can take long: a wrong address or file is an error at once.
//     Until the node is ready, slots answer /livez, and 503 to the rest; the one for gRPC
//     answers that it is starting.
//  4. State: files of earlier versions are encrypted; the replica (log, state, Raft), then
//     the node's own data, on one block cache. The step waits until there is a state to answer from; the first node
//     of a cluster makes it.
//  5. Requests: backups; limits, which must have the levels of the last clean stop
//     before the first request; background tasks; the gate, which charges the
//     limits; the proxy and the API, which use the gate. Setting the handlers of the
//     slots is last: no request meets a half-built node.
//
// [Node.Run] waits for the end of its context and stops the node:
//
//  1. It turns unready and waits for shutdown_delay, so that load balancers see it
//     while requests are still answered.
//  2. It hands leadership over, so that no write waits for an election.
//  3. It drains: listeners accept no more, requests in flight end within drain and
//     are cut off after it. From then on nothing charges a limit or reads the store.
//  4. It undoes the steps of Open: background tasks end; grants are returned and
//     levels saved, while the replica can still write; the node's own data, the
//     replica and the cache are closed; then the listeners, and the lock is released
//     at the very end.
//
// A node that runs is changed by [Reloader] alone: everything is prepared first,
// then swapped, so that a bad file changes nothing.
package node
