package replica

import (
	"cmp"
	"sync/atomic"
	"time"
)

// Liveness tells whether this node gets on with what it leads. A leader that does not keeps
// sending heartbeats from memory, so that no other node is elected.
type Liveness struct{ r *Replica }

// LivenessOf returns that of the node of r.
func LivenessOf(r *Replica) Liveness { return Liveness{r} }

// ApplyingFor is for how long the state machine has been at the same entries, some 256 KiB of
// them; 0 if it is at none.
func (l Liveness) ApplyingFor() time.Duration { return l.r.applied.busyFor() }

// Limit is the time after which a leader that does not get on is to lead no more. A disk that
// hangs has less (see storeLimit): what it reports names the file.
func (l Liveness) Limit() time.Duration { return cmp.Or(l.r.cfg.StoreLimit, storeLimit) * 5 / 4 }

// busy is the time since which something is under way, by one goroutine at a time; nil
// if nothing is.
type busy struct{ since atomic.Pointer[time.Time] }

func (b *busy) begin() { b.since.Store(new(time.Now())) }
func (b *busy) end()   { b.since.Store(nil) }

func (b *busy) busyFor() time.Duration {
	if since := b.since.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}
