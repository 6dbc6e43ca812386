// Package raftlog keeps the Raft log and Raft's own few values (term, vote) in a
// Pebble instance of their own.
//
// It is apart from the replicated state because its promises differ: everything
// here is fsynced before Raft hears that it is stored, while the state can
// always be rebuilt from it. A batch of entries is one Pebble batch and one
// fsync. A crash leaves a prefix of the committed batches, whole ones
// only. After a failed fsync the log is closed for good: every later call
// returns the same error, because an fsync that is repeated may succeed without
// having written anything.
//
// Keys: 'l' and the index, 8 bytes big-endian, for an entry; 's' and Raft's own
// key for a value. Entries are encoded by appendEntry.
//
// The package starts no goroutine. Raft stores entries from one goroutine, removes
// the oldest from another, which takes snapshots, and reads from any. The bounds of
// the log are atomic and set under a lock; the entries held ahead and the recent
// ones have a lock each. No two of these locks are ever held together.
package raftlog
