// Package rest is the frame of a management call: everything that all calls have
// in common. It knows no topic; the handlers are in
// httpapi/manage, and the route table that names them is in httpapi.
//
// # A call
//
// [Frame.Serve] takes a request that a [Table] has matched to a [Route] through
// these steps, and a failure of any of them is answered as the fault in its error:
//
//  1. The headers that every answer carries are set, with the id of the request.
//  2. The caller and the account are established ([Call.Caller], [Call.Account]),
//     by an operator token or by the gate that proxied requests pass too. A key's
//     management bucket is charged.
//  3. A GET waits until this node's state includes every write answered before.
//  4. The handler runs. [WithBody] decodes strictly: unknown and duplicate members,
//     wrong types and trailing bytes are refused, and the fault names the member.
//     A POST with an Idempotency-Key becomes repeatable with its body.
//  5. A write is one [store.Command]: the handler validates and settles everything
//     that is not deterministic, [Call.Propose] adds the caller, the time, the
//     precondition of If-Match and the identity of a repeat.
//  6. The result is encoded once, with status and entity tag.
//  7. The call is counted, and handed to the audit log unless its command carries
//     the event.
//
// A panic is answered with an internal error. An answer that has begun and cannot
// be completed is cut off, so that no client takes the part for the whole.
//
// # Memory and time
//
// Bodies are bounded by [MaxBody], or for a few calls by a bound of their own and
// a small number of slots. A body must arrive in time, a streamed answer must be
// taken in time: no silent client holds a connection or a slot for ever.
//
// Exports are bounded in number, for each account and in all. A caller that loses
// its right is refused after its body has come, and cut off from a streamed answer.
//
// A call with a streamed answer has one goroutine, which watches the caller's right;
// there are no others. The locks guard single maps (the Idempotency-Keys in progress,
// the slots) and are never nested.
package rest
