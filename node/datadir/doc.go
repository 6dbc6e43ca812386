// Package datadir owns the data directory of a node: the lock that keeps a second
// process out, the check before a start, and the names of everything in it.
//
// A directory belongs to the process that holds its [Lock]: an flock on the file
// LOCK, which the kernel releases when the process ends, however it ends. The
// file stays in place; removing it would race with the next process. It holds the
// process id of its holder, for the error that refuses a second one.
//
// A restore writes the file RESTORING before anything else and removes it last,
// both durably. While it is there, [Open] refuses the directory and only
// [Acquire], which restore calls, locks it.
//
// The errors of this package are sentences for the operator. They do not repeat
// the path, which the caller knows together with the setting that it came from.
// The package has no goroutines.
package datadir
