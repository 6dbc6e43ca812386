// Package snapshot keeps Raft's snapshots of the replicated state.
//
// It stands on one idea: taking a snapshot must cost next to nothing, because it
// happens every few seconds, while reading one is rare. A snapshot taken here is
// therefore a Pebble checkpoint, hard links and a copy of the newest writes, and
// only [Store.Open] turns it into a stream of rows. A snapshot that comes from
// elsewhere (a leader's, or a backup being restored) is kept as the stream that
// it came as.
//
// Each snapshot is a directory named after its index and term:
//
//	<index>-<term>-<n>/checkpoint/   a Pebble database, or
//	<index>-<term>-<n>/stream        rows as [Reader] reads them
//	<index>-<term>-<n>/meta          see meta
//
// The meta file is written last, under another name, fsynced and renamed: a
// directory without one is a snapshot that was never finished, and is removed
// when the store is opened. It lists the other files, which are compared with it each
// time that the snapshot is opened. A snapshot that differs is set aside under the name
// <index>-<term>-<n>.damaged, of which the newest one is kept; Raft then takes the one
// before it.
//
// Two indexes tell how far a snapshot reaches. Raft's counts every entry. The
// state's own counts commands only, so it may be lower; whether the state on
// disk still has to be replaced at start is decided by comparing state with
// state, see [Store.Newest].
//
// The package starts no goroutine. A [Sink] and a [Reader] belong to one goroutine
// each; the methods of a [Store] may be called from any.
package snapshot
