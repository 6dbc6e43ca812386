// Package recovery brings a cluster back after a loss: scheduled backups, and the
// commands restore and recover, which prepare the data directory of a stopped node.
//
// All three rest on one property of the state: it is rows in order, and the entry
// ClusterReset makes another cluster of it. [Backups] writes the rows of a moment
// into a file, if this node leads. [RestoreCommand] turns such a file into a
// snapshot in an empty directory, followed by a log with the reset. [RecoverCommand]
// rebuilds the state of one surviving node from its snapshot and log, and writes it
// as a snapshot of a new cluster with that node as the only voter. Indexes go on far
// beyond every index of the old cluster, so that none is given out twice.
//
// A crash leaves the directory as it was, or marked so that no node starts from it
// until the command has succeeded: a restore writes the file RESTORING first and
// removes it last; a recovery changes nothing that a node starts from before one
// rename.
//
// Both commands report in plain words which revocations they undo: keys that work
// again must not be noticed by their use.
//
// Goroutines and locks: none of its own; [Backups.Run] blocks. A data directory is
// locked by the command that works on it (package datadir). Backups.failed belongs
// to Run; its other counters are atomic, for the metrics.
package recovery
