// Package serve is the HTTP listeners of a node: addresses, TLS, certificates and
// the bounds of a connection and of a request's head.
//
// A [Server] is bound by Open and serves while Run blocks, so that an address
// which cannot be bound is an error before anything else starts. Its handler may be
// a [Slot], which answers that the node is starting until the real handler is set.
//
// [Certificates] follows the files of one listener: each second it compares their
// contents and uses them once they make a valid pair. A bad pair leaves the old one
// in use. Every handshake takes the newest pair, so a change needs no restart. One
// certificate perfgate makes itself, for an admin listener that other machines can
// reach, and renews it before it ends.
//
// Connections are bounded, in all and for each address. A newcomer takes the place
// of quiet ones, or of requests without a valid key from addresses with many, so that
// clients that are silent or slow keep no other out; see conns and
// docs/decisions/046-connections.md.
//
// HTTP/1.1 is served by httpapi/h1, which refuses what is malformed; refuse answers in the
// form of this API. It gives connections of HTTP/2 to net/http, with an httpapi/h2guard
// between them; see docs/decisions/102-http2.md.
//
// [GRPC] is the listener for proxies that ask by gRPC, which the library serves.
//
// Goroutines: those of h1, net/http and gRPC for each connection; Certificates.Run is the
// caller's.
// Locks: Certificates.mu, held during one poll or swap; handshakes read an atomic
// pointer. conns.mu, held when a connection comes, goes or is vouched for, and not
// for each request. Neither is taken under the other.
package serve
