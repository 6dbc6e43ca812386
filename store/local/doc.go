// Package local keeps what is this node's own and no other's: the audit events
// of requests and denials, usage counters, when a key was last used, and small
// marks. Nothing here is replicated, and a restore of the replicated state does
// not touch it.
//
// Writers never wait: [Local.Observe] hands a value to a bounded queue, and one
// goroutine turns what it finds there into Pebble batches at least once a
// second. When the queue is full, what is dropped is counted and the count
// becomes an event of its own.
package local
