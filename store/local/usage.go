package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
)

// Step is the width of a usage row.
type Step string

// The steps, and how long rows of each are kept.
const (
	StepMinute Step = "minute" // 48 hours
	StepHour   Step = "hour"   // 90 days
	StepDay    Step = "day"    // 400 days
)

// steps are written side by side, not rolled up from each other: requests that
// end late count where they belong, and a crash cannot come between.
var steps = [...]struct {
	step    Step
	code    byte
	minutes uint32
	keep    time.Duration
}{
	{StepMinute, 'm', 1, 48 * time.Hour},
	{StepHour, 'h', 60, 90 * 24 * time.Hour},
	{StepDay, 'd', 24 * 60, 400 * 24 * time.Hour},
}

// Group names the dimension by which a usage answer is divided.
type Group string

// The groups.
const (
	ByNothing     Group = ""
	ByKey         Group = "key"
	ByStatus      Group = "status"
	ByRoute       Group = "route"
	ByType        Group = "type"
	ByEnvironment Group = "environment"
	ByCountry     Group = "country"
	ByMethod      Group = "method"
)

// Groups lists the dimensions that a query can ask for.
var Groups = []Group{ByKey, ByStatus, ByCountry, ByRoute, ByMethod, ByType, ByEnvironment}

// UsageQuery selects usage of one account. From is rounded down and To up to
// whole steps (UTC); a zero To is now, a zero From as far back as is kept.
type UsageQuery struct {
	Account     store.AccountID
	From, To    time.Time
	Step        Step
	Key         store.KeyID
	Type        *store.KeyType
	Environment *string
	Route       string
	Country     *string // "" selects requests from unknown places
	Method      string  // or OtherMethod
	Status      int
	GroupBy     Group
}

// UsageRow is one step of one group. Steps in which nothing happened have none.
type UsageRow struct {
	Time     time.Time   `json:"time"`
	Group    string      `json:"group"`
	Requests int64       `json:"requests"` // all that came, denied ones included
	Denied   int64       `json:"denied"`   // of them, refused (not 5xx)
	Failed   int64       `json:"failed"`   // of them, answered with 5xx by the gateway itself
	Units    int64       `json:"units"`    // charged
	Cost     store.Money `json:"cost"`
	Billable int64       `json:"billable"`     // of Units, charged to live keys for requests that the gateway did not fail
	Would    int64       `json:"would_refuse"` // of Requests: a shadow rule would have refused
}

// Add adds the counts of another row to r.
func (r *UsageRow) Add(o *UsageRow) {
	sum := func(a, b int64) int64 { return grow(a, uint64(b)) }
	r.Requests, r.Denied, r.Failed = sum(r.Requests, o.Requests), sum(r.Denied, o.Denied), sum(r.Failed, o.Failed)
	r.Units, r.Billable, r.Would = sum(r.Units, o.Units), sum(r.Billable, o.Billable), sum(r.Would, o.Would)
	r.Cost = store.Money(sum(int64(r.Cost), int64(o.Cost)))
}

// Bounds of one usage query: stored rows read, and rows answered.
const (
	MaxUsageScan = 2_000_000
	MaxUsageRows = 50_000
)

// ErrTooWide is answered by a usage query that would read or answer more than
// the bounds.
var ErrTooWide = errors.New("the usage asked for is too much at once: take a shorter time, a longer step, one key, or no group_by")

// Usage sums the usage of the account's requests, ordered by time, then group. It
// includes everything observed before the call.
func (l *Local) Usage(q UsageQuery) ([]UsageRow, error) {
	i := slices.IndexFunc(steps[:], func(s struct {
		step    Step
		code    byte
		minutes uint32
		keep    time.Duration
	}) bool {
		return s.step == q.Step
	})
	if i < 0 || q.GroupBy != ByNothing && !slices.Contains(Groups, q.GroupBy) {
		return nil, fmt.Errorf("usage by step %q and group %q: one of them is unknown", q.Step, q.GroupBy)
	}
	if err := l.turn(false); err != nil {
		return nil, err
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	rows, err := l.usage(q, steps[i].code, steps[i].minutes)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return rows, nil
}

func (l *Local) usage(q UsageQuery, code byte, minutes uint32) (out []UsageRow, err error) {
	sum := summing{q: &q, groups: make(map[string]*UsageRow), lookup: l.cfg.Environment}
	err = l.scan(&q, l.table(&q), code, minutes, func(_ time.Time, row, value []byte) error {
		return sum.add(row, value, len(out))
	}, func(t time.Time) { out = appendSlot(out, sum.groups, t) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// scan calls row with the stored rows of q's account, and key if it names one, and slot
// at the end of each slot that was looked at, with its begin.
func (l *Local) scan(q *UsageQuery, table, code byte, minutes uint32, row func(t time.Time, row, value []byte) error, end func(time.Time)) error {
	width := uint64(minutes) * uint64(time.Minute)
	to := q.To
	if to.IsZero() {
		to = l.now().Add(time.Nanosecond)
	}
	slot, last := uint32(nanos(q.From)/width), uint32((nanos(to)+width-1)/width)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: slotKey(table, code, slot), UpperBound: slotKey(table, code, last)})
	if err != nil {
		return err
	}
	defer it.Close()
	scanned := 0
	var prefix []byte
	for slot < last {
		prefix = appendName(slotKey(table, code, slot), q.Account)
		if q.Key != "" {
			prefix = appendName(prefix, q.Key)
		}
		begin := at(uint64(slot) * width)
		ok := it.SeekGE(prefix)
		for ; ok && strings.HasPrefix(string(it.Key()), string(prefix)); ok = it.Next() {
			if scanned++; scanned > MaxUsageScan {
				return ErrTooWide
			}
			if err := row(begin, it.Key()[6:], it.Value()); err != nil {
				return err
			}
		}
		end(begin)
		if !ok {
			break
		}
		// Go to the next slot that holds anything at all.
		if next := binary.BigEndian.Uint32(it.Key()[2:]); next > slot {
			slot = next
		} else {
			slot++
		}
		scanned++
	}
	return it.Error()
}

func slotKey(row, code byte, slot uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{row, code}, slot)
}

// table is the kind of the rows that answer q. Totals have neither keys nor environments, and
// begin with the first hour after they were introduced.
func (l *Local) table(q *UsageQuery) byte {
	if q.Key != "" || q.Environment != nil || q.GroupBy == ByKey || q.GroupBy == ByEnvironment || nanos(q.From) < l.totalsFrom {
		return rowUsage
	}
	return rowTotal
}

var totalsRow = []byte{rowOwn, 't'}

// loadTotals finds out from when on there are totals: from the begin in new data, else from
// the next day.
func (l *Local) loadTotals() error {
	v, err := l.get(totalsRow)
	if err != nil {
		return err
	}
	if v == nil {
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowUsage}, UpperBound: []byte{rowUsage + 1}})
		if err != nil {
			return err
		}
		v = make([]byte, 8)
		if it.First() {
			binary.BigEndian.PutUint64(v, nanos(l.now().Truncate(24*time.Hour).AddDate(0, 0, 1)))
		}
		if err := errors.Join(it.Error(), it.Close(), l.db.Set(totalsRow, v, pebble.Sync)); err != nil {
			return err
		}
	}
	if len(v) != 8 {
		return errCorrupt
	}
	l.totalsFrom = binary.BigEndian.Uint64(v)
	return nil
}

// summing is a usage query at work.
type summing struct {
	q            *UsageQuery
	groups       map[string]*UsageRow // of the step at hand
	lookup       func(store.KeyID) string
	environments map[string]string // by key: at most as many as rows may be read
}

func (s *summing) environment(r *usageRow) string {
	if len(r.env) > 0 || s.lookup == nil || len(r.key) == 0 {
		return string(r.env)
	}
	env, ok := s.environments[string(r.key)]
	if !ok {
		if s.environments == nil {
			s.environments = make(map[string]string)
		}
		env = s.lookup(store.KeyID(r.key))
		s.environments[string(r.key)] = env
	}
	return env
}

// add sums one stored row into its group; answered rows stand before this step's.
func (s *summing) add(row, value []byte, answered int) error {
	q := s.q
	r, ok := parseRow(row)
	if !ok {
		return errCorrupt
	}
	live := r.live()
	if !s.selects(&r) {
		return nil
	}
	t, err := parseTally(value)
	if err != nil {
		return err
	}
	var name []byte
	switch q.GroupBy {
	case ByKey:
		name = r.key
	case ByStatus:
		name = strconv.AppendInt(nil, int64(r.status), 10)
	case ByRoute:
		name = r.route
	case ByType:
		name = []byte(store.Test.String())
		if live {
			name = []byte(store.Live.String())
		}
	case ByEnvironment:
		name = []byte(s.environment(&r))
	case ByCountry:
		name = []byte(r.country.String())
	case ByMethod:
		name = []byte(r.methodName())
	}
	g := s.groups[string(name)]
	if g == nil {
		if answered+len(s.groups) >= MaxUsageRows {
			return ErrTooWide
		}
		g = &UsageRow{Group: strings.ToValidUTF8(string(name), "\ufffd")}
		s.groups[string(name)] = g
	}
	g.Requests = grow(g.Requests, t.requests)
	g.Denied = grow(g.Denied, t.denied)
	g.Units = grow(g.Units, t.units)
	g.Cost = store.Money(grow(int64(g.Cost), t.cost))
	g.Would = grow(g.Would, t.would)
	switch {
	case r.marks&markFailed != 0:
		g.Failed = grow(g.Failed, t.requests)
	case live:
		g.Billable = grow(g.Billable, t.units)
	}
	return nil
}

// selects reports whether the query's filters pass r.
func (s *summing) selects(r *usageRow) bool {
	q := s.q
	return (q.Type == nil || r.live() == (*q.Type == store.Live)) && (q.Route == "" || q.Route == string(r.route)) &&
		(q.Country == nil || *q.Country == r.country.String()) && (q.Method == "" || q.Method == r.methodName()) &&
		(q.Status == 0 || q.Status == r.status) && (q.Environment == nil || *q.Environment == s.environment(r))
}

// appendSlot moves one slot's groups to the answer, sorted.
func appendSlot(out []UsageRow, groups map[string]*UsageRow, t time.Time) []UsageRow {
	from := len(out)
	for _, g := range groups {
		g.Time = t
		out = append(out, *g)
	}
	clear(groups)
	slices.SortFunc(out[from:], func(a, b UsageRow) int { return strings.Compare(a.Group, b.Group) })
	return out
}

// grow adds n to a sum of an answer, and holds at the largest int64.
func grow(sum int64, n uint64) int64 { return int64(plus(uint64(sum), n)) }
