// Package local keeps the data that belongs to this node alone: the audit events
// of requests and denials, usage counters, when a key was last used, and small
// marks. Nothing here is replicated, and a restore of the replicated state does
// not touch it.
//
// Writers never wait: [Local.Observe] packs a value into a queue that is bounded
// in bytes, and one goroutine, the writer, turns its content into Pebble batches at
// least once a second. When the queue is full, dropped events are counted and
// the count becomes an event of its own; denials are dropped last, no account
// fills the queue alone, and usage goes on being counted beside the queue.
//
// # Crashes
//
// Batches are written without waiting for the disk, which is synced once a
// second: a power loss forgets at most the last second or two, a kill the part
// that was still in memory, a second at most. Both forget whole batches from the end,
// never one in the middle. An event is written before its usage is, so after a
// crash there may be events that usage does not count, by a second's worth;
// minutes, hours and days always agree. Numbers of events are reserved on disk
// before they are used: a crash leaves a gap of at most 65,536, never a number
// given twice. Last uses are written once a minute for each key in use, and all
// of them by Close.
//
// # Damage
//
// None of the data is needed to serve. Damaged or missing data is set aside in
// <dir>.damaged-TIME, at the start or while the node runs, and replaced; see
// [Local.Losses]. The file <dir>.seal records the expected content of the directory:
// Pebble takes a missing one for new, and some damage for a crash.
//
// # Bounds
//
// Queue 9 MiB; usage not yet written 32,768 rows, and as many beside a full
// queue; last uses in memory 65,536 keys; a running query 1,024 events or 50,000
// usage rows. On disk: events by Config.MaxBytes, of which each account has a fair
// share, and each account's retention; usage by its step; failed
// requests 4,096 rows an hour for 30 days; 20,000 findings for 90 days; a habit of 2.4 KB and one row of about 60 bytes
// for every key ever used; three directories of damaged data.
//
// Values begin with a kind byte, so that later forms can be distinguished.
//
// # Goroutines and locks
//
// [Open] starts the writer, which alone writes events and usage and replaces damaged
// data, and the scrub, which compares tables with their checksums; [Local.Close] ends
// both. A queue's shard, the spill, the last uses, the uses of the database and the
// losses each have a lock that is held for a copy. No lock is taken while another one
// is held. The directory and its seal have none: they belong to Open, the writer and
// Close, in this order.
package local
