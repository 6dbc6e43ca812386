package roster

import "github.com/perfgate/perfgate/limiter/share"

// Report is what the leader knows of a node, in its term.
type Report struct {
	Applied uint64 // newest index that the node has reported
	// Until is when its last lease ends by the leader's clock, granted or about to be;
	// 0: it has none.
	Until int64
	// Stale says that it may serve without a lease: only its report counts.
	Stale bool
}

// loanWait is how long the leader waits after the last loan can have been made: clocks
// may differ by 0.1 % in their rates.
const loanWait = share.TTL + share.TTL/500 + 2e6

// Settler is the leader's wait before the last pending roster settles. It belongs to one
// term. The zero value is one that has seen nothing.
type Settler struct {
	index   uint64
	since   int64            // when the roster was first seen
	applied map[string]int64 // when a node's report of it was first seen
	ends    map[string]int64 // the last end of a lease that a node was seen with
}

// Ready reports whether the last of rosters may settle: each node of each of them has
// applied it for as long as a loan lasts, or has had no lease for as long. Leases of
// earlier terms end by old. The leader must have counted the announcement among the
// entries that a lease requires before it asks, and asks several times in the length of
// a lease, so that each lease's end is seen.
//
// reports has the nodes that were heard of in this term; gone says of a node that it was
// removed, and does not count although it may serve without a lease.
func (s *Settler) Ready(rosters []Roster, reports map[string]Report, gone func(string) bool, old, now int64) bool {
	if len(rosters) < 2 {
		return false
	}
	last := rosters[len(rosters)-1]
	if s.index != last.Index {
		*s = Settler{index: last.Index, since: now, applied: map[string]int64{}, ends: map[string]int64{}}
	}
	clean := true
	for _, r := range rosters {
		for _, id := range r.Nodes {
			clean = s.clean(id, reports, gone(id), old, now) && clean
		}
	}
	return clean
}

func (s *Settler) clean(id string, reports map[string]Report, gone bool, old, now int64) bool {
	r, heard := reports[id]
	if heard && r.Applied >= s.index {
		if s.applied[id] == 0 {
			s.applied[id] = now
		}
	}
	s.ends[id] = max(s.ends[id], r.Until)
	if at := s.applied[id]; at != 0 && now >= at+loanWait {
		return true
	}
	if r.Stale && !gone {
		return false
	}
	// Without a lease. One that was granted without the announcement was asked for before
	// it counted, so since bounds those that the reports do not show.
	return now >= max(s.ends[id], old, s.since)+loanWait
}
