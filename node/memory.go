package node

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/node/config"
)

// The settings of the garbage collector.
const (
	// gcPercent is the size of the garbage that the collector waits for, in percent of
	// the live heap: what a collection costs grows with the live heap, so this is what
	// holds its share of the processor, with few keys in use and with millions.
	gcPercent = 200
	// heapFloor is the heap below which the collector does not run, in bytes: with a
	// small live heap, gcPercent alone would have it run several times a second.
	heapFloor = 128 << 20
	paceEvery = time.Second
)

// Bounds of a process's memory, in bytes.
const (
	// outside is what the kernel counts for a process beside the Go runtime's memory: the
	// pages of the binary that are in use, page tables, sockets.
	outside = 32 << 20
	// unstated is the memory of a node if nobody knows it.
	unstated = 1 << 30
)

// Memory is how much memory a process may use, and how a node divides it. The zero
// value is that of a node in a process that is not its own.
type Memory struct {
	Limit  int64  // bytes that the collector keeps the Go runtime's memory below, while it can
	Source string // of Limit: "GOMEMLIMIT", "node.memory", "cgroup", "machine" or "default"
	unread error  // why the memory of the control group or of the machine is not known

	paced bool // the collector is to be paced: GOGC was not set
}

// scarce is the limit below which the least parts of a node leave little for requests.
const scarce = 160 << 20

// LimitMemory finds the memory for this process and sets up the garbage collector. GOGC
// and GOMEMLIMIT, which the runtime has read, take precedence where they are set.
func LimitMemory(c *config.Config) Memory {
	m := findMemory(c.Node.Memory, debug.SetMemoryLimit(-1), memlimit.FromCgroup, memlimit.FromSystem)
	if os.Getenv("GOMEMLIMIT") == "" { // "off" is a choice, too
		debug.SetMemoryLimit(m.Limit)
	}
	if m.paced = os.Getenv("GOGC") == ""; m.paced {
		debug.SetGCPercent(gcPercent)
	}
	return m
}

// findMemory takes the first of: the runtime's own limit; the configured one; what the
// control group leaves, where it has less than the machine; half of the machine, which
// has upstreams to run as well. What cannot be read is passed over: a node must start where
// /proc and /sys are not what they usually are, such as in a namespace.
func findMemory(configured config.Size, runtimes int64, group, machine memlimit.Provider) Memory {
	switch {
	case runtimes != math.MaxInt64:
		return Memory{Limit: runtimes, Source: "GOMEMLIMIT"}
	case configured != 0:
		return Memory{Limit: int64(configured), Source: "node.memory"}
	}
	all, unread := machine()
	if unread != nil {
		all = math.MaxInt64
	}
	all = min(all, math.MaxInt64)
	held, err := group()
	switch {
	case err == nil && held < all:
		return Memory{Limit: int64(held - min(max(held/10, outside), held/2)), Source: "cgroup"}
	case unread != nil:
		return Memory{Limit: unstated, Source: "default", unread: unread}
	case err == nil, errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
		return Memory{Limit: int64(all / 2), Source: "machine"}
	}
	return Memory{Limit: int64(all / 2), Source: "machine", unread: err}
}

// log tells an operator which memory the node found.
func (m Memory) log(to *slog.Logger) {
	switch limit := config.Size(m.Limit >> 20 << 20).String(); {
	case m.Limit == 0:
	case m.unread != nil:
		to.Warn("the memory of the container or machine cannot be read; set node.memory", "limit", limit, "source", m.Source, "error", m.unread)
	case m.Limit < scarce:
		to.Warn("there is little memory: give the node 256MiB", "limit", limit, "source", m.Source)
	default:
		to.Info("memory limit", "limit", limit, "source", m.Source)
	}
}

// share is a part of the memory for one of a node's stores, within bounds.
func (m Memory) share(part, least, most int64) int64 {
	limit := m.Limit
	if limit == 0 {
		limit = unstated
	}
	return min(max(limit/part, least), most)
}

// blocks is the size of the cache of all three Pebble instances, in bytes, for blocks
// and memtables: Pebble counts memtables (8 MiB, of local/ 4; two of an instance while
// one is flushed) against it, and the rest must hold the filters of 10M keys (12 MiB),
// or every look-up reads a filter from the disk. Without cgo the blocks are on Go's heap;
// beyond the bound the kernel's page cache does as well.
func (m Memory) blocks() int64 { return m.share(5, 48<<20, 128<<20) }

// records is the bound of the record cache, in bytes as the store counts them: 160 of a
// plain key.
func (m Memory) records() int64 { return m.share(5, 32<<20, 4<<30) }

// bodies is the bound of the bodies that are held at once, in bytes. One account may have
// half of it, and an import of 16 MiB takes twice that while its pieces are joined.
func (m Memory) bodies() int64 { return m.share(8, 66<<20, bodies.Max) }

// buckets is the number of buckets of POST /v1/ratelimit, of 88 bytes each.
func (m Memory) buckets() int { return int(m.share(12*88, 1<<16, 1<<20)) }

// shared is the number of buckets that a node of a cluster has, of some 500 bytes each while
// they are in use.
func (m Memory) shared() pool.Bounds {
	return pool.Bounds{Traffic: int(m.share(8*500, 1<<16, 1<<20)), Identifiers: int(m.share(12*500, 1<<16, 1<<20))}
}

// pace keeps the collector from running while the heap is below heapFloor: the runtime
// knows a percentage of the live heap only, so that is computed again each second. A
// live heap that has grown meanwhile is bounded by the limit.
func (m Memory) pace(ctx context.Context) {
	if !m.paced {
		return
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	floor := m.share(4, 0, heapFloor)
	for percent := gcPercent; ; {
		metrics.Read(live)
		// A change stops the world for some microseconds, so small ones are not made.
		next := percentOf(int64(live[0].Value.Uint64()), floor)
		if next < percent*7/8 || next > percent*9/8 || next == gcPercent && percent != next {
			debug.SetGCPercent(next)
			percent = next
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leastHeap is the runtime's own floor at 100 percent; it grows with the percentage.
const leastHeap = 4 << 20

// percentOf is the percentage with which a heap of live bytes is collected at floor, or
// gcPercent if that is more.
func percentOf(live, floor int64) int {
	live = max(live, leastHeap)
	return max(gcPercent, int(100*floor/live)-100)
}
