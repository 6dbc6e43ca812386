// Package losstest has a file system in memory that can lose its power (Mem), and loses the
// power at every step of a change (EveryStep), which must not run steps side by side.
// Programs do not import it. It starts no goroutines.
package losstest
