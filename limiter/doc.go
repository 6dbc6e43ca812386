// Package limiter counts and decides: token buckets by the minute, quotas by
// the calendar month, money budgets, rules for some of the requests, and the law that
// one request is charged everywhere or nowhere.
//
// A bucket is GCRA (ITU-T I.371) kept as consumption instead of as a theoretical
// arrival time: the charges that have not drained, exact in integers at any rate,
// and with the same meaning under every limit. State and time in give one full
// decision out: allowed or not, which policy binds, how much is left, when it is
// whole again, and how long to wait. Months and budgets spend chunks that the
// replicated state granted ahead of use; the package returns the chunk to ask for
// next and never waits for it.
//
// A [Rule] is one more bucket or quota for the requests that its owner picks, by the
// minute, hour, day or month, for an account or for each of its keys. A shadow rule
// refuses nothing and only tells which requests it would have refused.
//
// [Meter] counts one account's traffic of one key type. [Buckets] is a bounded
// table for limits that come with the call.
//
// A meter has one mutex and a table one for each shard. No two are held at a
// time, nothing is waited for under one, and no goroutines are started.
//
// There is no clock, network, log, disk or randomness here: now is an argument.
package limiter
