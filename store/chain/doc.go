// Package chain proves that an audit log is whole. It is pure: events, hashes and
// keys in, hashes, signatures and findings out; it knows neither the state nor HTTP,
// so that the command line verifies an export offline with the code that the nodes
// wrote it with.
//
// # What is hashed
//
// An event is a row of texts, one for each of [Columns]. Its hash is that of the
// texts with their lengths ([Encoder]), so it can be computed from JSON, NDJSON and
// CSV alike. A stream is what one writer numbers: the changes of the cluster, or the
// requests of one node. Within a stream, each account has a chain of its own, so that
// an account can prove that nothing of it is missing without seeing the others:
//
//	event     leaf = SHA-256(0x00 ‖ domain ‖ texts)
//	segment   the events of one account between two seals: the root of their Merkle
//	          tree (RFC 6962) and four bytes of each leaf, the marks
//	link      SHA-256(domain ‖ the link before ‖ numbers ‖ root ‖ hash of the marks)
//	head      the root of a Merkle tree over all accounts' last links, signed (Ed25519)
//
// A head therefore fixes every event of the stream up to its number. The marks say
// which event of a segment differs; the root makes it certain. A filtered export
// carries the hashes of the subtrees between its events. Events that expired are at
// the beginning of a chain; the first link that is left counts them.
//
// # What it means
//
// The node's own key signs heads, so a head that was kept elsewhere is needed to find
// a rewrite by somebody who holds a node; docs/audit.md lists what is found with and
// without one.
//
// Values are not safe for concurrent use; functions are.
package chain
