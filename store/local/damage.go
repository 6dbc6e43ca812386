package local

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// damage holds the facts that Local knows of damage to its data. All methods may be
// called from any goroutine.
type damage struct {
	found atomic.Pointer[error] // not set aside yet
	wake  chan struct{}         // capacity 1: found was set

	mu     sync.Mutex // guards the rest
	losses []Loss     // of the seal, for readers
	count  uint64     // losses since Open
}

// hurt notes that the data is damaged; the writer sets it aside soon. It may be
// called under Pebble's locks.
func (d *damage) hurt(err error) {
	if d.found.CompareAndSwap(nil, &err) {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// pending reports whether damaged data waits to be set aside.
func (d *damage) pending() bool { return d.found.Load() != nil }

// publish shows losses to readers.
func (d *damage) publish(losses []Loss) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.losses = slices.Clone(losses)
}

// counted counts one loss more.
func (d *damage) counted() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
}

func (d *damage) known() (losses []Loss, count uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.losses), d.count
}

// Losses are the last times that this node lost its own data, oldest first, at
// most three. They are remembered over restarts.
func (l *Local) Losses() []Loss {
	losses, _ := l.damage.known()
	return losses
}

// LossCount is the number of losses since Open, those found by it included.
func (l *Local) LossCount() uint64 {
	_, count := l.damage.known()
	return count
}

// Warning describes the losses for people, for a week; "" if there were none.
func (l *Local) Warning(now time.Time) string {
	losses := l.Losses()
	if len(losses) == 0 || now.Sub(losses[len(losses)-1].Time) > warnFor {
		return ""
	}
	last := losses[len(losses)-1]
	text := fmt.Sprintf("request events, usage and last uses recorded here before %s are lost: %s", last.Time.Format(time.RFC3339), last.Reason)
	if last.Kept != "" {
		text += "; the remains are in " + last.Kept + " in the data directory, and can be removed"
	}
	return text
}

const warnFor = 7 * 24 * time.Hour
