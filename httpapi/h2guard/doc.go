// Package h2guard ends connections of HTTP/2 whose client keeps the server busy with
// frames that get no request further: rapid resets, settings, pings, priorities, window
// updates, empty frames. net/http's server answers or ignores each of them and has no
// bound on their number.
//
// A [Conn] is a [net.Conn] between the server and the connection. It reads the nine octets
// of each frame's header as they pass (RFC 9113, section 4.1) and copies nothing. Each kind
// of frame has a budget that refills with time and with progress: answers that end pay for
// resets, data pays for window updates and pings. A client at work so never meets a
// budget, however fast it is; one that only keeps the server busy does within a second.
//
// The package knows frames and no header fields: compressed heads are net/http's.
//
// Goroutines: none. Read is called by one goroutine, Write by one at a time, Close by any.
// Locks: Conn.writing, held while octets are written; Conn.mu, held for one frame and
// taken under it.
package h2guard
