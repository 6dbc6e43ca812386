// Package manage holds the handlers of the management API.
// There is one type for each topic, with the calls as its methods and with
// exactly the parts that the topic needs as its fields; where a topic needs a few
// methods of a large part, a small interface names them. The route table in
// httpapi makes the types and names their methods; the frame around each call is
// httpapi/rest.
//
// A handler validates, settles everything that is not deterministic (ids, secrets,
// times) and proposes one command; the result of apply is the answer. Reads come
// from the replicated state, which the frame has brought up to date before, and
// from the counts, events and last uses that this node keeps for itself.
//
// # Shapes
//
// Requests and answers have structs of their own; their tags are the public JSON.
// Every member is there in every answer, null where there is nothing. In a PATCH
// an absent member stays, null empties or resets it, and an object or a list is
// replaced whole. A key's secret is in the one answer that makes it and in no
// other, nor in any message of a refusal.
//
// The package starts no goroutines and takes no locks; [Backup] counts the backups
// that are being sent in an atomic.
package manage
