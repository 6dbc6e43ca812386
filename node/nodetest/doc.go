// Package nodetest runs clusters of real nodes in the process of a test: each is
// what "perfgate serve" runs, configured by flags, environment and a file, and
// speaks HTTP on ports of 127.0.0.1. Only the network between the nodes is made
// here ([Net]): it has addresses that nobody else can take, and it can be cut.
//
// A node is stopped in good order by [Cluster.Stop], and crashed by
// [Cluster.Kill]: its connections are reset, nothing that it sends from that
// moment on arrives, and it is taken apart without a word to anybody
// (node.Abandon). What a crash does to a disk is not in it: store's tests are.
//
// No program imports this package.
package nodetest
