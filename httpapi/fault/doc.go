// Package fault is the one table of everything that can be answered instead of
// a result: code for machines, HTTP status and type, and a sentence for people.
// Servers write a fault with [Write]; clients read it back with [Decode].
//
// The idea: a fault is a value that travels as an error. A layer that knows why it
// refuses returns one, [From] finds it in a wrapped error, and anything else is an
// internal error, of which clients see the request id and the log the cause.
// Codes, statuses and JSON members are stable; sentences may get better.
//
// The package is a leaf. It starts no goroutines and takes no locks: its table is
// never changed.
package fault
