// Package bodies reads request bodies that must be held whole, such as those of
// management calls, imports, and proxied requests under a bound on cost. All
// readers share one [Memory], so that slow clients together hold a bounded number
// of bytes, however many they are.
//
// A body takes its credit as it arrives, in pieces that are reused: a client that
// announces much and sends little holds little. Without credit the read fails with
// [ErrFull] at once. A wait could be endless, because the bodies that hold the credit
// may be the slow ones. One holder, an account, gets at most half of it.
//
// The reader sets a deadline of [Time] on the connection, so that the credit comes back.
//
// There are no goroutines. Memory.mu is held for a few instructions for each piece.
package bodies
