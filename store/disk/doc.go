// Package disk holds what the node's Pebble instances share in dealing with a
// disk that misbehaves.
//
// It stands on one rule: after a write or an fsync has failed, nobody knows what
// is on the disk, so nothing more may be acknowledged. A [Guard] turns every
// sign of that into one sticky error and one call that ends the process. Only
// running out of space is foreseen and survived: [FS] releases a ballast file
// while there is still something to release, and the node refuses new writes
// until space is back.
package disk
