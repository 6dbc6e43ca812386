package limiter

import "time"

// demandWindow is the time whose demand one chunk should last.
const demandWindow = 5e9

// Asking again: ahead of use if no answer came, and after a refusal, in case
// another node has given units back since.
const (
	askAgain     = 1e9
	refusedAgain = 60e9
)

// quota is one bucket's calendar month: the chunk that the replicated state has
// granted to this node and what is known of the whole. Money budgets are quotas
// in billionths.
type quota struct {
	month int
	known bool  // total is known: seeded, or told by a grant
	chunk int64 // granted to this node, unspent; below 0: a settled cost beyond its reserve
	total int64 // granted to all nodes this month, as far as known
	size  int64 // the chunk as it was after the last grant

	asked   int64 // when the last want went out
	under   int64 // the limit then
	open    bool  // it has no answer yet
	refused bool  // it was refused

	// Demand by two windows instead of a decaying average: an add and a compare.
	since     int64
	cur, last int64
}

// left is what the month still has for this node, under limit. It may be
// negative after a limit was lowered.
func (q *quota) left(limit int64) int64 { return limit - q.total + q.chunk }

// turn begins month, without chunk or knowledge; a chunk of another month is void.
func (q *quota) turn(month int) {
	*q = quota{month: month, since: q.since, cur: q.cur, last: q.last}
}

// spend takes n of the chunk and counts it as demand.
func (q *quota) spend(n, now int64) {
	q.chunk -= n
	if now-q.since >= demandWindow {
		q.roll(now)
	}
	q.cur += n
}

func (q *quota) roll(now int64) {
	if now-q.since < 2*demandWindow {
		q.last = q.cur
	} else {
		q.last = 0
	}
	q.cur, q.since = 0, now
}

// next is the size of the chunk to ask for: some 5 s of demand, never more than
// an eighth of what is still to be granted, so that the last units are dealt
// one by one; but always what the request at hand lacks.
func (q *quota) next(limit, need int64) int64 {
	rest := limit - q.total
	return min(max(min(max(q.cur, q.last), rest/8), need-q.chunk, 1), max(rest, 0))
}

// ask notes that a want goes out.
func (q *quota) ask(limit, now int64) { q.asked, q.under, q.open = now, limit, true }

// refusedUnder reports whether the replicated state had nothing left under this
// very limit, however the numbers look from here.
func (q *quota) refusedUnder(limit, now int64) bool {
	return q.refused && q.under == limit && now-q.asked < refusedAgain
}

// ahead reports whether it is time to ask for the next chunk.
func (q *quota) ahead(limit, now int64) bool {
	return 2*q.chunk <= q.size && q.total < limit && (!q.open || now-q.asked >= askAgain) &&
		!q.refusedUnder(limit, now)
}

// calendar is the month that the wall clock stands in.
type calendar struct {
	month      int
	start, end int64 // Unix nanoseconds, end exclusive
}

func calendarAt(wall int64) calendar {
	t := time.Unix(0, wall).UTC()
	first := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return calendar{
		month: t.Year()*12 + int(t.Month()) - 1,
		start: first.UnixNano(),
		end:   first.AddDate(0, 1, 0).UnixNano(),
	}
}
