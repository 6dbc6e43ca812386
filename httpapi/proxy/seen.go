package proxy

import (
	"sync"
	"time"

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

// estimate is the amount of rec's budget that a call without a bound reserves: the
// largest cost seen lately, but never more than the whole budget, which would refuse the
// key for good.
func (l *lane) estimate(rec *store.Record, now time.Time) store.Money {
	if l.route.costHeader == "" || rec == nil || rec.Budget == 0 {
		return 0
	}
	return min(l.seen.largest(now), rec.Budget)
}
