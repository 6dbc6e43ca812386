package serve

import (
	"iter"
	"maps"
	"slices"
	"time"
)

func (s *conns) perAddress() int { return max(1, s.max/addressShare) }

func (s *conns) isKnown(h *host) bool { return h.trusted || h.known > s.now() }

func (s *conns) isLarge(h *host) bool { return h.served > max(1, s.max/crowdShare) }

func (s *conns) isCrowd(h *host) bool { return !h.trusted && s.isLarge(h) }

// yields reports whether a stranger's request that is under way on c may be cut for a
// newcomer of the address h.
func (s *conns) yields(c candidate, h *host, n newcomer) bool {
	switch {
	case s.isCrowd(c.host):
		return !n.crowd || n.known && c.host != h
	case c.host.trusted && s.isLarge(c.host):
		// Crowds and lone clients come from there alike: each gets its turn, but for
		// people who are known by an address of their own.
		return !n.crowd && (s.now()-c.from >= turn || n.known && !n.trusted)
	}
	return false
}

// roomLocked makes room for one more connection of h. It returns the connections
// that the caller must close, and whether there is room.
func (s *conns) roomLocked(h *host) (closed []*conn, room bool) {
	closed, room = s.roomOfLocked(h)
	n := newcomer{s.isKnown(h), s.isCrowd(h), h.trusted}
	limit := s.max
	if !n.known {
		limit = max(1, limit-limit/knownShare)
	}
	switch {
	case !room:
		return nil, false
	case s.total < limit:
		return closed, true
	case s.now() < s.barren[n]:
		return closed, false
	}
	quiet, busy := s.closeLocked(max(1, s.max/batchShare), s.everyLocked(), func(c candidate) bool {
		switch {
		case c.probation:
			return false
		case c.busy:
			return !c.good && s.yields(c, h, n)
		case n.crowd && c.host != h && s.now()-c.from < turn && !(n.known && !s.isKnown(c.host)):
			return false // its first request may be on its way
		}
		return n.known || !c.good || s.isCrowd(c.host)
	})
	s.counts.idlest += int64(len(quiet))
	s.counts.cut += int64(len(busy))
	if len(quiet)+len(busy) == 0 {
		s.barren[n] = s.now() + barrenFor
		return closed, false
	}
	return slices.Concat(closed, quiet, busy), true
}

// roomOfLocked is roomLocked for the bound of h's address alone.
func (s *conns) roomOfLocked(h *host) (closed []*conn, room bool) {
	switch {
	case h.trusted || h.served < s.perAddress():
		return nil, true
	case s.now() < h.barren:
		return nil, false
	}
	quiet, busy := s.closeLocked(max(1, s.perAddress()/batchShare), maps.Keys(h.conns), func(c candidate) bool {
		return !c.probation && (!c.busy || !c.good && s.now()-c.from >= turn)
	})
	closed = append(quiet, busy...)
	s.counts.crowded += int64(len(closed))
	if len(closed) == 0 {
		h.barren = s.now() + barrenFor
	}
	return closed, len(closed) > 0
}

// everyLocked are all connections.
func (s *conns) everyLocked() iter.Seq[*conn] {
	return func(yield func(*conn) bool) {
		for _, h := range s.hosts {
			for c := range h.conns {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// probateLocked puts c, of the address h, on probation. If the places are taken, or
// the share of h of them, it returns one that the caller must close: of h if no address
// has more, else of those that have the most. It may have a request under way, for every
// answer there is at hand: a request that lasts is one that the client does not end.
func (s *conns) probateLocked(c *conn, h *host) []*conn {
	s.counts.refused++
	c.probation = true
	places := map[*host]int{}
	for other := range s.probated {
		places[other.host]++
	}
	most, own := places[h], true
	if h.trusted || most < probation/probationShare {
		if len(s.probated) < probation {
			return nil
		}
		for _, n := range places {
			if n > most {
				most, own = n, false
			}
		}
	}
	quiet, busy := s.closeLocked(1, maps.Keys(s.probated), func(c candidate) bool {
		if own {
			return c.host == h
		}
		return places[c.host] == most
	})
	return append(quiet, busy...)
}

// candidate is a connection in a search for ones to close.
type candidate struct {
	*conn
	state int64         // its value of since
	busy  bool          // a request is under way
	from  time.Duration // when that began or the last one ended
	good  bool          // a valid credential came in on it
	crowd int           // connections of its address
}

// precedes is the order in which connections are closed: negative if a comes first.
func (a candidate) precedes(b candidate) int {
	first := func(x, y bool) int { // whether the one for which it does not hold is closed first
		switch {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	}
	switch {
	case a.busy != b.busy:
		return first(a.busy, b.busy)
	case a.good != b.good:
		return first(a.good, b.good)
	case a.crowd != b.crowd:
		return b.crowd - a.crowd
	}
	return int(min(1, max(-1, a.from-b.from)))
}

// closeLocked forgets up to n of the connections that may be closed, and returns them.
// Those with a request under way come into question only if no other does. The search
// looks at every connection, for some milliseconds at most; in relation to n that is
// little for each newcomer.
func (s *conns) closeLocked(n int, of iter.Seq[*conn], may func(candidate) bool) (quiet, busy []*conn) {
	var all []candidate
	for c := range of {
		x := candidate{conn: c, state: c.since.Load(), good: c.good.Load(), crowd: c.host.served}
		if x.state == closing {
			continue
		}
		x.busy, x.from = x.state < 0, time.Duration(max(x.state, ^x.state))
		if may(x) {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, candidate.precedes)
	for _, c := range all {
		if len(quiet)+len(busy) == n || c.busy && len(quiet) > 0 {
			break
		}
		if !c.since.CompareAndSwap(c.state, closing) {
			continue // a request has just begun or ended
		}
		s.leaveLocked(c.conn)
		if c.busy {
			busy = append(busy, c.conn)
		} else {
			quiet = append(quiet, c.conn)
		}
	}
	return quiet, busy
}
