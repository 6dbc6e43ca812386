// Package replica keeps this node's copy of the replicated state: Raft with the
// stores that it runs on, the state machine, and the way of a write into it.
//
// A write is one command. [Replica.Propose] hands it to the leader, which appends
// it to the log; every node applies it to its own state ([store.Store]) in one
// batch with its index, so that nothing is applied twice or skipped. The answer is
// that of the leader's state, given when the change is in force on every node that
// serves. The rest of the agreement among nodes is a [Coordinator]'s: which nodes
// serve, how a write reaches the leader, when it is in force. The coordinator of a
// lone node is in this package, that of a cluster in node/cluster. This package
// knows neither HTTP nor the network between nodes; refusals are [Error]s.
//
// # Start and stop
//
// [Open] goes in this order: the disk's reserve of space; the identity, with a boot
// counter that is durable before anything uses it; the stores, log first; the
// coordinator's Enter, which may wait for other nodes; Raft, after the stores were
// compared with each other, since a log older than the state would give out indexes
// twice; the coordinator's Start. [Replica.Shutdown] goes the other way: the
// coordinator's Farewell and a snapshot while Raft still runs, then Raft, then the
// goroutines, then transport and stores, the log last, since everything else can be
// made from it.
//
// A crash leaves a log with a torn end, which is cut, and a state that lags the log,
// which is applied again. A write was acknowledged only if its entry
// was fsynced on a majority, so it survives.
//
// # Goroutines
//
// One watches the space on the disk, one follows Raft's leadership, one takes
// snapshots by size, one makes entries that confirm the leadership. They end with
// the context that Shutdown cancels, and Shutdown waits for them. Raft has its own,
// and applies batches in one of them. A future of Raft's may never be answered when
// Raft stops: the goroutine that waits for it then stays until the process ends, and
// its caller is released by a timeout or by [Replica.Stopped].
//
// # Locks
//
// latch.mu, progress.mu and confirmer.mu are leaves: no other lock is taken and
// nothing blocks while one is held. room.mu and appender.entering are leaves too; readers hold it
// until Raft has queued an entry. The write slots are channels; a write holds one
// from before its entry is proposed until its answer.
package replica
