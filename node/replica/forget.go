package replica

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotForgotten is the answer of [Replica.Forget] while a file still holds what was
// removed: entries that no snapshot follows yet, or a snapshot that a follower is being
// sent. It is tried again later.
var ErrNotForgotten = errors.New("the log or an older snapshot still holds entries from before")

// Forget makes the files of the log, the state and the snapshots hold nothing any more
// that entries up to index have removed from the state. It returns the first entry of the
// log. The removed rows go before the snapshot, which shares its tables with the state.
func (r *Replica) Forget(ctx context.Context, index uint64) (first uint64, err error) {
	if r.applied.index() < index {
		return 0, ErrNotForgotten
	}
	if err := r.engine.state.Compact(ctx); err != nil {
		return 0, err
	}
	r.snapshots.takeKeeping(0)
	left, err := r.engine.snaps.RemoveBefore(index)
	if err != nil {
		return 0, fmt.Errorf("remove older snapshots: %w", err)
	}
	if first, err = r.engine.log.FirstIndex(); err != nil {
		return 0, err
	}
	if first == 0 { // the log is empty
		first = r.LastIndex() + 1
	}
	if left > 0 || first <= index {
		return 0, ErrNotForgotten
	}
	return first, r.engine.log.Compact(ctx)
}
