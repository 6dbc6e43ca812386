package proxy

import (
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// Bounds of passive health: after failures in a row an upstream is passed over
// for ejectFirst, then for twice as long each time, up to ejectMost.
const (
	failuresToEject = 3
	ejectFirst      = time.Second
	ejectMost       = time.Minute
)

// upstream is one base URL of one route, with its own connections and its health.
type upstream struct {
	url       *url.URL
	name      string // the base URL as configured, for logs, metrics and the audit log
	target    h1.Target
	host      string // for the field Host, unless the route has another
	base      string // path, escaped, without a slash at its end
	transport transport
	counts    *upstreamCounts

	inFlight atomic.Int64
	badCosts minutely
	health
}

// health is whether an upstream answers, by the requests that it gets: there are
// no others. It is up until failuresToEject attempts in a row have failed, then
// down until one succeeds.
type health struct {
	log *slog.Logger // names the upstream

	// mu is held while the fields below are set, so that they always belong together:
	// a success between the steps of a failure could otherwise leave an upstream that is
	// down without failures, and the next success would take it for up already.
	// Readers need no lock.
	mu       sync.Mutex
	failures atomic.Int64 // in a row
	until    atomic.Int64 // passed over until then, Unix nanoseconds
	down     atomic.Int64 // since then, Unix nanoseconds; 0 while up
}

// succeed notes that the upstream has answered.
func (h *health) succeed() {
	if h.failures.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures.Store(0)
	h.until.Store(0)
	if since := h.down.Swap(0); since != 0 {
		h.log.Info("an upstream is up again", "down_for", time.Since(time.Unix(0, since)).Round(time.Millisecond))
	}
}

// fail notes that the upstream did not answer, because of err.
func (h *health) fail(now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.failures.Add(1)
	if n < failuresToEject {
		return
	}
	// The shift is bounded before it can overflow.
	wait := min(ejectFirst<<min(n-failuresToEject, 20), ejectMost)
	h.until.Store(now.Add(wait).UnixNano())
	if h.down.CompareAndSwap(0, now.UnixNano()) {
		h.log.Warn("an upstream is down", "failures", n, "error", err)
	}
}

// isDown reports whether the upstream failed last.
func (h *health) isDown() bool { return h.down.Load() != 0 }
