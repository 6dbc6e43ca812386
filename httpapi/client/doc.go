// Package client calls perfgate's management API. It has one method for each
// call and types of its own, so that a program that uses it does not depend on the
// server's packages. The methods of [Client] are named like the operations in
// openapi.yaml; an operator's calls about accounts and tiers are methods of
// [Client.Accounts] and [Client.Tiers].
//
// A call is one request: the client retries nothing, follows no cursor unless
// asked to (see [Client.Keys]), and keeps no state between calls. An answer with a
// status of 300 or more is returned as a *[fault.Error]; callers branch on its
// code. All other errors come from the network or from decoding.
//
// A Client may be used by several goroutines at once, once its fields are set.
// Calls run in the caller's goroutine.
package client
