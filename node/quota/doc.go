// Package quota keeps the limits of a node that outlive a request: months and
// budgets, which all nodes of a cluster share, and the levels of the buckets by
// the minute, which are this node's own.
//
// Months are granted by the replicated state in chunks. A meter ([limiter.Meter])
// admits requests from the chunk at hand and asks for the next one ahead of use,
// so that a request waits for the log only when a chunk runs out. [Grants] gathers
// the requests of all meters into one command at a time. A chunk with a grant in
// doubt, or that a crash loses, is lost to its month: nothing is granted twice.
//
// Where other nodes hold chunks of the same months, a request that lacks units waits for
// a recall before it is refused: all nodes give back the units that they do not need.
//
// Levels are charged in memory only. [Levels] writes them at a clean stop and
// takes them back once, at the next start; after a crash every bucket begins
// empty and refills from the start of the process, so that no token is spent twice.
//
// Goroutines: [Grants.Run] proposes one command after the other, [Grants.RunRecalls]
// makes one recall after the other. Ask, Await, Yield and Prune may be called from any
// goroutine. [Grants.Close] and
// [Levels.Save] are called after Run has returned and the last request was
// answered; [Levels.Resume] before the first request.
//
// Locks: Grants.mu guards the queues alone. It is not held while a command is
// proposed, nor while a meter, which has a lock of its own, is called.
package quota
