// Package cluster proves from outside the promises of three perfgate processes
// together: it builds the real binary, starts nodes, breaks them and the network
// between them, and judges by the answers to clients alone.
//
// It consists of tests, with the helpers of e2e/harness. The model, the checker, the load generator
// and the fake cluster that plants faults for them are tested by plain
// `go test`; tests with processes run when PERFGATE_E2E_CLUSTER is set:
//
//	PERFGATE_E2E_CLUSTER=1       the part that CI runs (make e2e-cluster)
//	PERFGATE_E2E_CLUSTER=full    longer: 20 histories, 20 leader crashes, all faults
//	PERFGATE_E2E_CLUSTER=bench   the table of make bench-cluster, nothing else
//	PERFGATE_TORTURE=1           besides: 300 histories, hundreds of kills
//	HISTORIES=n                  so many histories (TestHistories)
//	PERFGATE_SEED=n              repeats the choices of an earlier run
//	PERFGATE_BINARY=path         tests that binary instead of building one
//
// # The rules of a history
//
// A key's writes take effect in one order, the log's, each at one moment between
// its call and its answer; linearizable reads follow that order. A use of the
// key is judged by one node, and each node takes over the writes in the log's
// order, each of them between the write's call and its answer: a write that is
// still unanswered may be in force on one node and not yet on another, one that
// was answered is in force everywhere. One exception, the contract's own: a node
// out of contact with the leader may learn late of a right that was given, while
// its last lease lasts; of one that was taken it may not. See model_test.go.
//
// # Namespaces
//
// Partitions need root, iproute2 and nftables: every node gets a network
// namespace of its own, a bridge in another one joins them, and the test reaches
// them through one more veth with an address of 10.201.0.0/16. nft rules drop
// packets between nodes, never those between a node and the test. Names begin
// with "pgc" and the test's pid; a run removes the leftovers of crashed ones.
package cluster
