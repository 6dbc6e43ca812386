// Package encfs encrypts files with AES-256-GCM, as a file system around another one.
//
// It stands on one idea: each file has a key of its own, derived from a data key and a
// random salt in the file's header. Within a file, every piece is sealed under a nonce
// that says which piece it is, so pieces cannot be exchanged, repeated or left out, and
// no nonce is used twice: nothing that was sealed is ever sealed again at the same place.
// The file system knows nothing of names, so links, renames and checkpoints work as on
// the file system below.
//
// # Format
//
// A file begins with a header of 64 bytes, which is authenticated:
//
//	magic 8 · version 1 · layout 1 · zero 6 · key id 16 · salt 16 · tag 16
//
// The layout follows from the name with which the file is created:
//
//   - blocks (.sst, .blob): blocks of 4096 bytes and a tag of 16 follow, and a last one
//     that is shorter, possibly empty. The last one is sealed as such, so a file that was
//     cut is not whole. Any block is read by itself.
//   - log (.log, MANIFEST-): each write becomes one frame, or several of 64 KiB at most:
//     length 4 · number 4 · synced through 8 · bytes · tag 16. The first 16 bytes are
//     authenticated with the rest.
//   - whole (everything else): the same frames.
//
// Closing a file of frames appends a frame with the number of bytes before it.
// A whole file without that end is damaged. A log may lack it: a crash interrupts it
// anywhere. "Synced through" is the offset up to which the writer knew the file to be
// durable when it wrote the frame. A frame that does not authenticate ends the log
// without an error if no later frame says that it was durable: then it is the torn tail
// of a crash. Otherwise the file is damaged.
//
// Blocks and whole files are written once: they can be read after Close, which makes them
// durable. A log is durable up to its last Sync, after which an empty frame says so.
//
// # Limits
//
// A log whose end was cut off looks like a log after a crash: its own later frames are the
// only witnesses, and the machine may fail before the one that follows the last Sync is on
// the disk. An old file in the
// place of a newer one, or under another name, authenticates. Names, sizes and times are
// visible.
//
// # Errors
//
// Every difference from the content that was written is a [DamageError], which names
// the file and which [pebble.IsCorruptionError] reports.
//
// # Goroutines and locks
//
// The package starts no goroutine. A file being written belongs to one goroutine. ReadAt
// of a file of blocks takes no lock; reading frames holds the file's own. FS.names is
// held for reading while a name is changed or removed, and for writing while
// [FS.Rewrite] puts a file in the place of its older self, so that it never brings a
// removed name back.
package encfs
