// Package lease decides when a revocation is true everywhere. A node serves
// only while it holds a lease; the leader knows every lease that could be held
// and the newest index that each holder applied, so a write can wait until no
// node serves the state from before it: each has applied it, or its lease is over.
//
// [Table] is the leader's half, [Lease] a node's own. Both are pure state
// machines: no clock, network, disk, log or goroutine; now is an argument, in
// nanoseconds of this process's monotonic clock, which must not stop in suspend
// (CLOCK_BOOTTIME). Clocks are never compared between machines, only their rates
// count: a node counts D from the moment it sent its request, the leader
// D(1+ε) from a moment after it received it.
//
// Why it holds. Let a taking write have index N, and let a node serve with less
// than N applied after the write was answered. Its lease was asked for by some
// request, recorded by the leader of its term at x.
//
//   - x before the write's critical section, in the same term: the record was
//     there, granted or pending, so the write waited for its end, which is after
//     the node's own, or for a report of N, which contradicts.
//   - x after it, in the same term: R was at least N by then, and the grant
//     required a report of R.
//   - Granted in a later term: that leader had applied all that was committed
//     before it granted, so its R was at least N.
//   - Granted in an earlier term: a majority took an entry of that term which was
//     proposed after x, and one of them voted in the election afterwards; so x was
//     before electedAt, and the write waited for electedAt + D(1+ε).
//
// A lock is held for one critical section and never across anything that waits.
// now may be read before the lock is taken, but after whatever it stands for: a
// renewal's after the request was received. The table never goes back in time.
//
// Not here: a process that stops between [Lease.Valid] and its use of the answer.
package lease
