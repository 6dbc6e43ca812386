// Package lease decides when a revocation is effective everywhere. A node serves
// only while it holds a lease. The leader knows every lease that could be held
// and the newest index that each holder has applied, so that a write can wait
// until no node serves the state before it: every node has applied the write, or
// its lease has ended.
//
// [Table] is the leader's half, [Lease] the half of each node. Both are pure state
// machines: no clock, network, disk, log or goroutine. The argument now is the
// time, in nanoseconds of this process's monotonic clock, which must not stop
// during suspend (CLOCK_BOOTTIME). Clocks are never compared between machines;
// only their rates matter: a node counts D from the moment at which it sent its
// request, the leader D(1+ε) from a moment after it received the request.
//
// # Proof
//
// Let a write that takes a right away have index N, and let a node serve with
// less than N applied after the write was answered. Some request asked for its
// lease; the leader of its term recorded that request at x.
//
//   - x before the write's critical section, in the same term: the record was
//     there, granted or pending. So the write waited for its end, which is after
//     the end of the node's lease, or for a report of N, a contradiction.
//   - x after it, in the same term: R was at least N by then, and the grant
//     required a report of R.
//   - Granted in a later term: that leader had applied everything that was
//     committed before it granted, so its R was at least N.
//   - Granted in an earlier term: a majority accepted an entry of that term which
//     its leader sent after x, and one of them voted in the election afterwards. So x
//     was before electedAt, and the write waited for electedAt + D(1+ε). For this the
//     entry is committed; whether it is applied anywhere does not matter.
//
// The proof does not cover a process that stops between [Lease.Valid] and its use
// of the result.
//
// # Concurrency
//
// The package starts no goroutines. One mutex guards a Table and all its waits;
// it is held for one critical section, never across anything that waits, and no
// other lock is taken under it. A Lease is lock-free. now may be read before the
// lock is taken, but must be read after the event that it stands for: for a
// renewal, after the request was received. The time of a Table never goes back.
package lease
