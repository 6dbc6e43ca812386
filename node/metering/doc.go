// Package metering sends usage to a system that bills it, as events.
//
// The events are made and kept by store/local, see [local.Meter]: each is about one minute and
// key of this node, and has an id of its own, which it keeps over crashes. This package only
// carries them, oldest first, until the receiver has them. Delivery is at least once; a receiver
// that ignores ids that it knows gets the usage exactly.
//
// [Feed.Run] is the only goroutine. Nothing here is shared but the figures, which are atomic.
package metering
