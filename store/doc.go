// Package store holds the state that every node of a cluster agrees on: keys,
// accounts, tiers, allowlists, settings, granted months, and the audit events of the
// changes made to them.
//
// It stands on three ideas. A [Command] is the only way to change anything: it
// carries one [Change] of a closed, versioned set, in which each kind is a type
// with its own apply and its own [Traits]. Commands are values that carry every decision which is not
// deterministic (ids, secrets' hashes, times), so that applying a command is a
// pure function of the state before it. One Pebble batch holds the effects of a
// whole Raft batch together with the applied index, so a crash leaves either
// both or neither. And the records that admission reads are packed binary and
// found by one look-up; the account's part of them is a shared cell, so that a
// change of tier or allowlist needs no sweep over the keys.
//
// # Parts
//
// A [Store] has three: database reads committed rows, for any goroutine; a txn holds
// one batch of commands while it is applied; and the view, the facts and the cache
// hold the part of the last commit that readers see. A txn is made of parts that see
// the changes of the batch so far: pending the rows, draft the accounts, tiers and settings,
// keyTable the keys, and moment the clocks. The sweeper works on a txn: it removes
// old rows within the commands that are applied, a bounded number each time, so that
// all nodes remove the same.
//
// # Goroutines and locks
//
// The package starts no goroutine of its own; Pebble does. Raft's goroutine alone
// calls [Store.ApplyBatch], [Store.Snapshot] and [Store.Restore], and owns the
// fields that they change. Readers take no lock for an account, a tier or the
// settings: each is an immutable value behind an atomic pointer, which a commit
// replaces after its rows are in the database, and the applied index is published
// last. Cached records are in shards with a lock each, under which nothing else is
// locked.
//
// The package knows neither Raft's network nor HTTP. Node-local data lives in
// store/local, never here: a restore replaces this state whole.
package store
