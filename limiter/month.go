package limiter

import "time"

// demandWindow is the time that one chunk should last.
const demandWindow = 5e9

// Asking again: ahead of use if no answer came, and after a refusal, in case
// another node has given units back since.
const (
	askAgain     = 1e9
	refusedAgain = 60e9
)

// For how long requests are refused, after one that a recall did not help, without
// another recall. So refusals cost a bounded number of messages at any rate of
// requests: four recalls of one month a second while other nodes go on spending it,
// and soon one a minute. Nodes return units that become free once little is left, so that
// the numbers show it here without a recall.
const (
	refuseSoon  = 250e6 // while the total changes
	refuseFirst = 1e9   // else, and twice as long each time
	refuseMost  = 60e9
)

// freshFor is how long a recall counts for the requests that waited for it, unless one
// of them got a grant by it.
const freshFor = 50e6

// keepFor is how long a chunk is kept, after it came, for the requests that wait for
// it: a recall by another node would take it from under them.
const keepFor = 50e6

// fewLeft is how many requests like the last one fit into the rest of a month on which
// nodes stop keeping chunks that they do not need.
const fewLeft = 8

// quota is one bucket's calendar month, or day: the chunk that the replicated state has
// granted to this node and the known part of the whole. Money budgets are quotas
// in billionths.
type quota struct {
	month int
	known bool  // total is known: seeded, or set by a grant
	chunk int64 // granted to this node, unspent; below 0: a settled cost beyond its reserve
	total int64 // granted to all nodes this month, as far as known
	size  int64 // the chunk as it was after the last grant

	asked   int64 // when the last want was sent
	under   int64 // the limit then
	open    bool  // it has no answer yet
	refused bool  // it was refused

	index    uint64 // of the log entry that total is true after; 0: not known
	recalled int64  // when the units that others hold were last recalled; 0: long ago
	denied   int64  // when a request was last refused after a recall; 0: never
	around   int64  // total then
	patience int64  // for how long that counts
	keep     int64  // of the chunk, for requests that wait
	keepTill int64

	// Demand by two windows instead of a decaying average: an add and a compare.
	since     int64
	cur, last int64
}

// left is the rest of the month for this node, under limit. It may be negative
// after a limit was lowered.
func (q *quota) left(limit int64) int64 { return limit - q.total + q.chunk }

// turn begins month, without chunk or knowledge; a chunk of another month is void.
func (q *quota) turn(month int) {
	*q = quota{month: month, since: q.since, cur: q.cur, last: q.last}
}

// spend takes n of the chunk and counts it as demand.
func (q *quota) spend(n, now int64) {
	q.chunk -= n
	q.keep = max(q.keep-n, 0)
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

// next is the size of the chunk to ask for: some 5 s of demand, but always enough for
// the request at hand. Otherwise the units at hand never become more than an eighth
// of those that are not spent, which bounds what a crash loses; so the last ones are
// dealt one by one. It is 0 if the units at hand are enough.
func (q *quota) next(limit, need int64) int64 {
	rest, held := limit-q.total, max(q.chunk, 0)
	ahead := min(max(q.cur, q.last), (rest+held)/8-held)
	return min(max(ahead, need-q.chunk, 0), max(rest, 0))
}

// ask records that a want is sent. A refusal under another limit says nothing.
func (q *quota) ask(limit, now int64) {
	q.refused = q.refused && q.under == limit
	q.asked, q.under, q.open = now, limit, true
}

// few reports whether only some requests of n fit into the units left to grant.
func (q *quota) few(n int64) bool { return (q.under-q.total)/fewLeft < max(n, 1) }

// exhausted reports, of a request for more than is left, whether the units that others
// hold have been recalled: there are no more then.
func (q *quota) exhausted(now int64) bool {
	if q.recalled != 0 && now-q.recalled < freshFor {
		q.patience = min(2*q.patience, refuseMost)
		if q.denied == 0 || q.total != q.around {
			q.patience = refuseFirst
		}
		q.recalled, q.denied, q.around = 0, max(now, 1), q.total
		return true
	}
	patience := q.patience
	if q.total != q.around {
		patience = min(patience, refuseSoon)
	}
	return q.denied != 0 && now-q.denied < patience
}

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

// calendar is the month or the day that the wall clock stands in.
type calendar struct {
	month      int   // or the days since 1970
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

// dayLength is the length of a UTC day in Unix time, which has no leap seconds.
const dayLength = 86400e9

func dayAt(wall int64) calendar {
	day := wall / dayLength
	return calendar{month: int(day), start: day * dayLength, end: (day + 1) * dayLength}
}

// lateTolerance is how far into the past window a request may have begun.
const lateTolerance = 60e9

// turn brings c to wall and returns the time left of its window. A request that began
// shortly before the window's end and is charged after one of the new window counts to
// the new one; turning back for it would void a chunk.
func (c *calendar) turn(wall int64, at func(int64) calendar) int64 {
	if wall < c.start && wall >= c.start-lateTolerance {
		wall = c.start
	}
	if wall < c.start || wall >= c.end {
		*c = at(wall)
	}
	return c.end - wall
}
