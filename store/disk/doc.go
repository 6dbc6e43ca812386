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
// The ballast holds no data, so a fault in writing it is logged and it is written again a
// second later. Each part of it is fsynced before the next one, so that a write which
// needs the space waits for one part at most.
//
// [Space.Watch] runs in a goroutine of its caller; the package starts none. Space.mu is
// held while the volume is looked at, the ballast is written or released, and full is
// set, since these belong together: a write that finds no space waits for it. Nothing
// is called back while it is held.
package disk
