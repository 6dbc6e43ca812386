// Package local keeps what is this node's own and no other's: the audit events
// of requests and denials, usage counters, when a key was last used, and small
// marks. Nothing here is replicated, and a restore of the replicated state does
// not touch it.
//
// Writers never wait: [Local.Observe] packs a value into a queue that is bounded
// in bytes, and one goroutine turns what it finds there into Pebble batches at
// least once a second. When the queue is full, what is dropped is counted and
// the count becomes an event of its own; denials are dropped last, and usage
// goes on being counted beside the queue.
//
// # What a crash does
//
// Batches are written without waiting for the disk, which is synced once a
// second: a power loss forgets at most the last second or two, a kill what was
// still in memory, a second at most. Both forget whole batches from the end,
// never one in the middle. An event is written before its usage is, so after a
// crash there may be events that usage does not count, by a second's worth;
// minutes, hours and days always agree. Numbers of events are reserved on disk
// before they are used: a crash leaves a gap of at most 65,536, never a number
// given twice. Last uses are written once a minute for each key in use, and all
// of them by Close.
//
// # Bounds
//
// Queue 9 MiB; usage not yet written 32,768 rows, and as many beside a full
// queue; last uses in memory 65,536 keys; a running query 1,024 events or 50,000
// usage rows. On disk: events by Config.MaxBytes and each account's retention,
// usage by its step, and one row of about 60 bytes for every key ever used.
//
// What is not here yet: chaining (Event.Hash) and geography (Event.Country)
// stay empty; values begin with a kind byte, so that later forms can tell
// themselves apart.
package local
