package limiter

import "encoding/binary"

// tenant is what an owner has in a shard of a table of [Buckets].
//
// A bucket that is dropped before it is whole would hand out its burst again. So an owner that
// has lost one begins all its new buckets of the shard as if they had been empty at that
// moment. Other owners are not affected.
type tenant struct {
	n     int   // buckets
	since int64 // when it lost one that was not whole; 0: never, or long ago
	until int64 // when all that it lost would be whole
}

// Owner is whose a bucket of a table is: a digest of an account's id. 0 is nobody: a table
// drops no bucket of nobody's before it is whole, unless it is a forgetful one.
type Owner uint64

// TableOwner is the owner with an account's id.
func TableOwner(account string) Owner {
	n := NameOf("owner", account)
	return Owner(binary.LittleEndian.Uint64(n[:]) | 1)
}

// NewForgetful returns a table for at most limit buckets that never refuses a newcomer: when
// all places are taken, one of those that are whole soonest is forgotten, and gets its burst
// again. It is for counts of strangers, where a refusal would hit the wrong one.
func NewForgetful(limit int) *Buckets {
	b := NewBuckets(limit)
	for i := range b.shards {
		b.shards[i].forgetful = true
	}
	return b
}

// lost is the time since which a new bucket of o has been refilling at the longest, with a
// bucket that begins refilled nanoseconds ago.
func (s *shard) lost(o Owner, refilled int64) int64 {
	if t := s.tenants[o]; t != nil && t.since > 0 && s.now < t.until {
		return min(refilled, s.now-t.since)
	}
	return refilled
}

// evict frees a place for one more bucket of o in a full shard. Nobody who has half of an equal
// share or less loses anything: half of all buckets belong to owners that have more than that, so
// a look at sweepMax of them finds one, or the owner that fills the table.
func (s *shard) evict(o Owner) bool {
	if !s.forgetful && o == 0 {
		return false
	}
	mine, owners := 0, len(s.tenants)
	if t := s.tenants[o]; t != nil {
		mine = t.n
	} else {
		owners++
	}
	fair := s.max / max(1, owners)
	if o != 0 && mine >= fair {
		return false
	}
	worst, most, wait := -1, 0, int64(0)
	for range min(sweepMax, len(s.entries)) {
		if s.hand++; s.hand >= len(s.entries) {
			s.hand = 0
		}
		e := s.entries[s.hand]
		n := 0
		if !s.forgetful {
			if e.owner == 0 {
				continue
			}
			if n = s.tenants[e.owner].n; n <= mine+1 || n <= fair/2 || n < most {
				continue
			}
		}
		e.drain(s.now, e.limit)
		tick, _ := measure(e.window)
		if w := e.until(uint64(e.used), tick, 0); worst < 0 || n > most || w < wait {
			worst, most, wait = s.hand, n, w
		}
	}
	if worst < 0 {
		return false
	}
	if t := s.tenants[s.entries[worst].owner]; t != nil {
		t.since = max(s.now, 1)
		t.until = max(t.until, s.now+min(wait, Forever-s.now))
	}
	s.drop(worst)
	return true
}

// occupy and vacate count an owner's buckets.
func (s *shard) occupy(o Owner) {
	if o == 0 {
		return
	}
	t := s.tenants[o]
	if t == nil {
		t = new(tenant)
		s.tenants[o] = t
	}
	t.n++
}

func (s *shard) vacate(o Owner) {
	if t := s.tenants[o]; t != nil {
		t.n--
		s.forget(o, t)
	}
}

// forget drops a tenant that has nothing and that nothing has to be remembered of.
func (s *shard) forget(o Owner, t *tenant) {
	if t.n == 0 && t.until <= s.now {
		delete(s.tenants, o)
	}
}
