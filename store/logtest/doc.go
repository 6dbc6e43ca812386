// Package logtest is a log that tests read while the code under test writes it.
// Programs do not import it. It starts no goroutines; one mutex guards the text.
package logtest
