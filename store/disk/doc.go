// Package disk holds the part that the node's Pebble instances share in dealing
// with a disk that fails or fills up.
//
// It stands on one rule: after a write or an fsync has failed, the content of
// the disk is unknown, so nothing more may be acknowledged. A [Guard] turns every
// sign of that into one sticky error and one call that ends the process. It is the
// only place that decides the fate of a goroutine on which Pebble cannot go on.
//
// Only running out of space is foreseen and survived: [Space] releases a ballast
// file while there is still something to release, and the node refuses new writes
// until space is back.
//
// [Space.Watch] runs in a goroutine of its caller; the package starts none. The
// only lock is the one under which the ballast is written, and nothing is called
// back while it is held.
package disk
