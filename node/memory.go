package node

import (
	"os"
	"runtime/debug"
)

// The settings of the garbage collector. A small heap is collected rarely, which
// saves a fifth of the proxy's CPU; near the limit it is collected as often as
// needed.
// Without cgo Pebble's blocks are on Go's heap, so the limit is above the sum of
// the caches, with room for requests: with a million keys in use, half of that room
// is left, and a larger GOMEMLIMIT saves the CPU that collecting costs then.
const (
	gcPercent   = 300
	memoryLimit = pebbleCache + recordCache + 108<<20
)

// LimitMemory configures the garbage collector. GOGC and GOMEMLIMIT take precedence
// where they are set: their values were chosen for the machine.
func LimitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
