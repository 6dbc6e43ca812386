// Package share divides the token bucket of a limit among the nodes of a cluster, so
// that each decides alone and all together never admit more than burst + rate·t.
//
// # The idea
//
// A node spends only what it owns. A [Part] is a fraction of a bucket: of its burst and
// of its rate. Every node has a base part; the base parts of all nodes add up to the
// whole at most. A node that needs more asks another one, which lends a part of its own
// for a limited time, with the tokens in it. Gossip carries hints about who has tokens;
// a wrong hint costs a message and never a token.
//
// # Rights and tokens
//
// The owner takes a lent part out of its own before it sends it, and takes it back at a
// moment of its own clock (the stamp). The borrower counts its time from the moment at
// which it sent its request, which is before the loan was made, and counts 0.1 % less;
// so its time ends first, however long the answer took. This needs clocks whose rates
// differ by less than 0.1 %, and nothing of what they show.
//
// Every token is within a cap: of the part that a node has, or of a part on its way.
// Tokens that no part covers, because the part would be too small to be of use, are
// covered by a [hold]: the lender keeps that much of its own cap empty for a while, and
// the borrower may keep the tokens for a little less than that. So all caps together
// are at most the burst, all refills together at most the rate, and
//
//	admitted(s, t) ≤ burst + rate·(t−s)
//
// with or without messages. What is lost destroys rights until the stamp, never more.
// A process that starts knows nothing of what it lent before: its base is in quarantine
// until every such loan has ended.
//
// # Limits that change
//
// The state is kept as tokens, and a changed limit moves them by the change of the cap:
// what was consumed stays consumed, also below zero. An exchange names the limit that
// it was made under, and both sides bring the bucket to that limit first.
//
// # Tiny buckets
//
// Below four units for each node a part would be worth less than a few requests. Such a
// bucket has one home, chosen by rendezvous. The home borrows the parts of all others
// ([Fetch] with All) as long as the bucket is in use, and the others ask it for each
// request (Charge). Who owns what is the same as for every other bucket, so nothing but
// the number of messages depends on which node is the home, or takes itself for it.
//
// # Use
//
// A [Bucket] is one node's side of one bucket. It has no lock: the caller's, which covers
// all buckets of a request, guards it. Take a request with Advance, Has and Spend. What
// lacks tokens asks: Ask returns messages, OnFetch answers them on the other node,
// OnReply takes the answers. Tick renews and returns parts. Rest, after any of these, packs
// the state of exchanges while none is under way.
//
// There is no clock, network, log, disk or randomness here: now is an argument, in
// nanoseconds of a clock that does not stop during suspend.
package share
