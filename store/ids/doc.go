// Package ids makes identifiers and reads and writes base62, the digits that
// they consist of. The order of the digits is their order as bytes, so numbers
// of the same width sort as their texts do.
//
// The package holds no state; its functions may be called from any goroutine.
package ids
