// Package fault is the one table of everything that can be answered instead of
// a result: code for machines, HTTP status and type, and a sentence for people.
// Servers write a fault with [Write]; clients read it back with [Decode].
package fault
