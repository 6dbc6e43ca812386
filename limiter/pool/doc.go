// Package pool keeps this node's side of the buckets that the nodes of a cluster spend
// together: package share has what one bucket does, package roster whose part is whose.
//
// A bucket is made at its first use here, by a request or by a message of another node,
// and dropped once it is as if it had never been used. It begins full if what it counts
// was created in the life of this process and under the rosters of now, since nobody can
// have used this node's part before, and without tokens otherwise. In a node that has
// started before, its base is then in quarantine since the start of the process. Then it
// goes through the changes of the roster that this process has seen since.
//
// A [Shard] has one lock, which guards its buckets. All buckets of one account are in one
// shard, so that the charges of a request are made together. Nothing is waited for under
// the lock. There is no clock, network, log, disk or randomness here, but for the seed of a hash.
package pool
