// Command etcd measures etcd's durable writes the way perfgate's are measured
// (make bench-cluster): three members on loopback, one process each, with real
// fsync; 300-byte values, 1 and 64 in flight. It is a module of its own, so that
// perfgate's own go.mod does not know etcd.
//
//	etcd                     three members, the load, the figures
//	etcd member …            one member (started by the first form)
//
// The figures are not of equal promises: an etcd write answers when a majority has it,
// perfgate's when every serving node has applied it.
package main
