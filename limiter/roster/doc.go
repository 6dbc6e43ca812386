// Package roster says which part of a bucket is whose: the base parts of package share,
// by the nodes that share limits.
//
// # Rosters
//
// A roster is a set of nodes that the replicated state names. While one is replaced,
// several are pending, and a node's base is the smallest of those that they give it. A
// change takes two entries of the log. The first announces a roster: nodes shrink. The
// second settles it: nodes grow. Between them the leader waits until nobody can use more
// than the new roster gives it: each node has applied the announcement for as long as a
// loan lasts, or has had no serving lease for as long ([Settler]).
//
// # Lines
//
// Buckets are made at their first use, and look at the rosters only when they are used.
// A [Line] keeps what this process has seen and when, so that a bucket can go through
// the same changes later: a base that grew between two uses did so without tokens.
//
// There is no clock, network, log, disk or randomness here.
package roster
