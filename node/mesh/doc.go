// Package mesh is the one port that the nodes of a cluster share: Raft, calls
// from node to node, gossip, and the first words of a node that has not joined.
//
// TCP carries TLS 1.3 alone. What a connection is for is told by ALPN, one
// protocol per connection, so that nothing of ours parses a byte before the
// other side is known. For raft, call and gossip both sides show a certificate
// of the cluster's CA; the node's id is taken from it, never from what a peer
// says. For join there is no certificate yet: both sides prove that they know
// the cluster secret by an HMAC over the connection's exporter, the client
// first, and only then one frame goes each way. UDP on the same number carries
// memberlist's packets, which are encrypted with the gossip keys.
//
// After the handshake of a certificate protocol the server sends one byte: in
// TLS 1.3 a client has finished before the server has looked at its certificate,
// and without that byte a refusal would look like a request that was lost on
// the way. So a dial that succeeded means that both sides agreed.
//
// Every wait has a bound; see the constants in config.go. Nothing here knows
// what the bytes mean: commands, leases and shares are the node's.
package mesh
