// Package mesh is the one port that the nodes of a cluster share: Raft, calls
// between nodes, gossip, and the join requests of nodes that are not members yet.
// It does not know the meaning of the bytes it carries: commands, leases and
// shares belong to package node and its parts.
//
// # Protocols
//
// TCP carries TLS 1.3 only. ALPN selects the protocol, one per connection, so that
// no code of ours parses a byte before the peer is authenticated. For raft, call,
// gossip and direct both sides present a certificate of the cluster's CA; the
// peer's node id is taken from it, never from a message. For join there is no
// certificate yet: both sides prove that they know the cluster secret with an HMAC
// over keying material exported from the connection, the client first, and only
// then one frame is sent in each direction. UDP on the same port number carries
// memberlist's packets, which are encrypted with the gossip keys.
//
// After the handshake of a certificate protocol the server sends one byte. In TLS
// 1.3 a client has finished its handshake before the server has verified its
// certificate; without that byte a refusal would look like a request that was lost
// on the way. So a dial that succeeded means that both sides accepted each other.
//
// Every wait has a bound; see the constants in config.go.
//
// # Goroutines
//
// [Open] starts one goroutine that accepts connections, one that receives packets,
// and net/http's server for calls. Each accepted connection has a goroutine until
// its protocol takes it over; each dial for calls has one until it has ended.
// [NewMembers] adds memberlist's goroutines and one that delivers events. Close
// ends and awaits all of them.
//
// # Lock order
//
// connections.mu and calls.mu are never held together, and no callback runs under
// them. memberlist calls our delegate under its own lock, so that Members.mu may be
// taken under that lock, and memberlist is never called with Members.mu held.
// Members.closeMu and Members.keysMu are held across calls of memberlist.
package mesh
