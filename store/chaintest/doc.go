// Package chaintest makes records of chains from events, as exports hold them, so that tests
// verify what they read. Programs do not import it. It has no state and starts no goroutines.
package chaintest
