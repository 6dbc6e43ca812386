// Package nodetest runs clusters of real nodes in the process of a test. Each node
// is the one that "perfgate serve" runs: it is configured by flags, environment and
// a file, and speaks HTTP on ports of 127.0.0.1. Only the network between the nodes
// is simulated ([Net]): its addresses are free for every test, and it can be cut and
// slowed down.
//
// A node is stopped in good order by [Cluster.Stop], and crashed by [Cluster.Kill]:
// its connections are reset, nothing that it sends from then on arrives, and it is
// taken apart without a message to the others (node.Abandon). A crash here does not
// damage the disk: the tests of store and node do that.
//
// Waits are for events, with a generous bound that names the event ([Cluster.Until]),
// so that the tests hold on a loaded machine. Raft's timeouts are twice the
// product's for the same reason ([Election]).
//
// A cluster's goroutines carry a profiling label; the end of a test fails if any is
// left. The fields of a [Cluster] belong to the test's goroutine; methods of a [Node]
// may be called from any. [Net] has a lock for the topology, and each direction of a
// connection one for its data; the topology's comes first.
//
// No program imports this package.
package nodetest
