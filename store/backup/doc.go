// Package backup is the file that a whole cluster's state goes into and comes
// back from.
//
// A backup is one document, written and read in one go and in bounded memory:
//
//	magic    "PERFGATE-BACKUP 1\n"
//	header   one line of JSON, see [Header]
//	rows     a stream as store/snapshot writes it, with checksums of its own
//	sum      SHA-256 of all that is before it, 32 bytes
//
// The sum is what a file cut short anywhere, a flipped bit and bytes put behind
// it have in common: an error, and no row counts before [Reader.Next] has said
// io.EOF. It does not say who wrote the file.
//
// With a passphrase the document is sealed as an age file (age-encryption.org/v1,
// scrypt), which authenticates every piece as well; the age tool opens it.
package backup
