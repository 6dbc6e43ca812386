// Package limiter counts and decides: token buckets by the minute, quotas by
// the calendar month, money budgets, and the rule that one request is charged
// everywhere or nowhere.
//
// A bucket is GCRA (ITU-T I.371) told as consumption instead of as a theoretical
// arrival time: what has been charged and has not drained, exact in integers at
// any rate, and meaning the same under every limit. State and time in give one
// full decision out: allowed or not, which policy binds, what is left, when it is
// whole again, and how long to wait. Months and budgets spend chunks that the
// replicated state granted ahead of use; the package says which chunk it wants
// next and never waits for it.
//
// [Meter] counts one account's traffic of one key type. [Buckets] is a bounded
// table for limits that come with the call.
//
// There is no clock, network, log, disk or randomness here: now is an argument.
package limiter
