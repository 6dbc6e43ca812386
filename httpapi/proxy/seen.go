package proxy

import (
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/store"
)

// seenFor is the window of [seenCosts]: a cost counts for one to two of them.
const seenFor = 10 * time.Minute

// seenCosts keeps the largest cost that the upstreams of a route stated lately, in two
// windows. A route whose calls have no bound reserves it.
type seenCosts struct {
	mu        sync.Mutex // guards all fields
	since     time.Time  // when cur began
	cur, last store.Money
}

func (s *seenCosts) note(now time.Time, m store.Money) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rollLocked(now)
	s.cur = max(s.cur, m)
}

func (s *seenCosts) largest(now time.Time) store.Money {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rollLocked(now)
	return max(s.cur, s.last)
}

func (s *seenCosts) rollLocked(now time.Time) {
	age := now.Sub(s.since)
	if age < seenFor {
		return
	}
	if s.last = s.cur; age >= 2*seenFor {
		s.last = 0
	}
	s.cur, s.since = 0, now
}

// demand is what a call of rec's demands, nil for a key that is not known yet. Keys
// without a budget reserve nothing, and do not wait for the lock of the costs.
func (l *lane) demand(rec *store.Record, now time.Time) admit.Demand {
	d := l.route.demand()
	if l.route.costHeader != "" && (rec == nil || rec.Budget > 0) {
		d.Seen = l.seen.largest(now)
	}
	return d
}
