// Package losstest loses the power at every step of a change to a file system.
// Programs do not import it. It starts no goroutines and has no locks: the change must
// not run steps side by side.
package losstest
