package manage

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The bounds of reports, for tests.
const (
	LeakAnswer   = leakAnswer
	LeakFarewell = leakFarewell
	MaxLeaks     = maxLeaks
)

// Take takes the report of the key with hash h, in the request id.
func (h *Leaks) Take(ctx context.Context, hash store.Hash, id string) *fault.Error {
	l := &leak{sum: hash, came: time.Now(), origin: store.Command{At: time.Now()}}
	l.origin.Request.ID = id
	return h.take(ctx, l)
}

// Settled returns when no report is carried out any more.
func (h *Leaks) Settled() { h.tries.Wait() }

// Places is the number of reports that are carried out or wait for their answer.
func (h *Leaks) Places() int { return len(h.places) }
