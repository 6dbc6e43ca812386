// Package geo finds the country of an address in a database in MaxMind's format.
//
// The database is read into memory whole and replaced when its file changes, so a lookup
// takes no lock and never waits for the disk. A new file that cannot be read changes
// nothing: the old database stays.
//
// # Goroutines and locks
//
// [Database.Run] follows the file. [Database.Country] may be called from any goroutine; it
// reads an immutable value behind an atomic pointer.
package geo
