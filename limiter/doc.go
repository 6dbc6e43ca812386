// Package limiter counts and decides: token buckets by the minute, quotas by
// the calendar month, money budgets, and the rule that one request is charged
// everywhere or nowhere.
//
// The bucket is GCRA (ITU-T I.371; one theoretical arrival time per bucket), so
// state and time in give one full decision out: allowed or not, which policy
// binds, what is left, when it is whole again, and how long to wait. Months
// spend chunks that the replicated state granted ahead of use; the package says
// which chunk it wants next and never waits for it.
//
// There is no clock, network, log, disk or randomness here: now is an argument.
package limiter
