// Package raftlog keeps the Raft log and Raft's own few values (term, vote) in a
// Pebble instance of their own.
//
// It is apart from the replicated state because its promises differ: everything
// here is fsynced before Raft hears that it is stored, while the state can
// always be rebuilt from it. A batch of entries is one Pebble batch and one
// fsync. What a crash leaves is a prefix of the committed batches, whole ones
// only. After a failed fsync the log is closed for good: every later call
// answers the same error, because an fsync that is repeated may succeed without
// having written anything.
//
// Keys: 'l' and the index, 8 bytes big-endian, for an entry; 's' and Raft's own
// key for a value. Entries are encoded as [Append] says.
package raftlog
