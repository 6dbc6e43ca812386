// Package seal encrypts files for people: with a passphrase, or for the owners of recovery
// keys. The files are age files (age-encryption.org/v1), which the age tool opens as well.
//
// A passphrase authenticates its file: nobody without it can make one that opens. A recovery
// key does not, since its public part seals; it protects what is in the file, also from the
// node that wrote it. One file has either a passphrase or recovery keys, never both.
//
// The package imports nothing of ours, starts no goroutines and holds no locks.
package seal
