// Package store holds what every node of a cluster agrees on: keys, accounts,
// tiers, allowlists, settings, granted months, and the audit events of the
// changes made to them.
//
// It stands on three ideas. A [Command] is the only way to change anything: a
// closed, versioned set of values that carry every decision which is not
// deterministic (ids, secrets' hashes, times), so that applying a command is a
// pure function of the state before it. One Pebble batch holds the effects of a
// whole Raft batch together with the applied index, so a crash leaves either
// both or neither. And the records that admission reads are packed binary and
// found by one look-up; what it needs of an account is a shared cell, so that a
// change of tier or allowlist needs no sweep over the keys.
//
// The package knows neither Raft's network nor HTTP. Node-local data lives in
// store/local, never here: a restore replaces this state whole.
package store
