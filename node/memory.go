package node

import (
	"os"
	"runtime/debug"
)

// The collector's settings. A small heap is collected rarely, which saves a
// fifth of the proxy's CPU; near the limit it is collected as often as it takes.
// Without cgo Pebble's blocks are on Go's heap, so the limit is above the sum of
// the caches, with room for what requests need: with a million keys in use, half
// of that room is left, and a bigger GOMEMLIMIT buys back the CPU that collecting
// takes then.
const (
	gcPercent   = 300
	memoryLimit = pebbleCache + recordCache + 108<<20
)

// LimitMemory sets the collector up. GOGC and GOMEMLIMIT, where they are given,
// stand: who sets them knows the machine.
func LimitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
