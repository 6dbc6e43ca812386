// Package backup writes a cluster's whole state to one file and reads it back.
//
// A backup is one document, written and read in one go and in bounded memory:
//
//	magic    "PERFGATE-BACKUP 1\n"
//	header   one line of JSON, see [Header]
//	rows     a stream as store/snapshot writes it, with checksums of its own
//	sum      SHA-256 of all that is before it, 32 bytes
//
// The sum makes a file that is cut short, has a flipped bit or has bytes after its
// end an error; no row counts before [Reader.Next] has returned io.EOF. It does not prove the file's author.
//
// With a passphrase, or for recovery keys, the document is sealed as an age file by package
// seal, which authenticates every piece as well; the age tool opens it.
//
// The package starts no goroutines and holds no locks; a [Backup] and a [Reader]
// belong to one goroutine each.
package backup
