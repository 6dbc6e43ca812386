// Package replicatest opens replicas for tests: of this package and of those that
// stand on it. It is in no binary and has no goroutines of its own.
package replicatest
