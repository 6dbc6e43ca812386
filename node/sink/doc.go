// Package sink sends the audit log elsewhere: to a syslog server over TLS, to an HTTPS
// endpoint, or into a file.
//
// Each node sends the events of the requests that it served. The leader sends the events of
// changes, and each minute the signed heads of the log, so that a copy of them is where no
// holder of a node can change it.
//
// # Delivery
//
// At least once. The queue is the log itself: a [Sink] remembers how far it is in a mark of
// the node's own data, after the receiver took a batch, and reads on from there after a
// failure or a restart. So a receiver that is away costs no memory, and what it misses is
// bounded by the log: retention and audit.max_bytes. A batch whose end is unknown is sent
// again; an event's id tells. Followers ask the leader how far it is with the changes, so
// that a new leader repeats some seconds of them and leaves out none.
//
// Syslog has no acknowledgments. A batch counts as taken when the connection is still open
// a moment after it was written.
//
// # Bounds
//
// A batch has 1,000 events, 1 MiB, or 20,000 rows that a filter left out. A send may take 30 s. After
// a failure the next attempt comes after 1 s, and later after up to a minute.
//
// # Goroutines and locks
//
// [Sink.Run] is one goroutine. The lock of a Sink guards its cursor, which other nodes ask
// for.
package sink
