package local

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// FailureKind tells why a request failed.
type FailureKind byte

// The kinds.
const (
	FailedAuth    FailureKind = 'a' // the credential was refused, or had no right to the request
	FailedOther   FailureKind = 'o' // a limit, a budget, a malformed request
	FailedGateway FailureKind = 'g' // the gateway or its upstream: 5xx
)

// authCodes are the codes of refused credentials that are not answered with 401 or 403.
var authCodes = []string{"key_in_query", "ambiguous_credentials", "too_many_failures"}

// rightCodes are the codes of refusals to callers who are known and lack a right.
var rightCodes = []string{"forbidden", "feature_not_in_tier"}

// kindOf is the kind of a failure; person says that the caller was an operator or a user,
// whom no answer but 401 takes for somebody else.
func kindOf(status int, reason string, person bool) FailureKind {
	switch {
	case status >= 500:
		return FailedGateway
	case status == 403 && (person || slices.Contains(rightCodes, reason)):
		return FailedOther
	case status == 401, status == 403, slices.Contains(authCodes, reason):
		return FailedAuth
	}
	return FailedOther
}

// failureKeep is how long failures are kept.
const failureKeep = 30 * 24 * time.Hour

// Bounds of the rows of one hour: all accounts together, one account, and requests without
// an account, which anybody can make. Failures beyond them lose address, hint and country,
// so that their number stays right; beyond twice an account's bound, the key too. The hour
// then holds a row for each reason, of which there are some 60.
const (
	maxFailures        = 4096
	maxAccountFailures = 512
	maxStrayFailures   = 1024
)

// failure is what a row counts.
type failure[T pack.Text] struct {
	kind              FailureKind
	account, key      T
	reason, hint, ip  T
	country           Country
	hour              uint32
	withoutOrigin     bool // drop hint, address and country
	withoutOriginator bool // drop the key too
}

// append writes the key of f's row.
func (f *failure[T]) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, rowFailure), f.hour)
	dst = append(appendName(dst, f.account), byte(f.kind))
	key, hint, ip, country := f.key, f.hint, f.ip, f.country
	if f.withoutOrigin {
		hint, ip, country = hint[:0], ip[:0], Country{}
	}
	if f.withoutOriginator {
		key = key[:0]
	}
	dst = appendName(dst, key)
	dst = appendName(dst, f.reason)
	dst = appendName(dst, hint)
	dst = appendName(dst, ip)
	return append(dst, country[:]...)
}

// parseFailure reads a row's key.
func parseFailure(row []byte) (f failure[[]byte], ok bool) {
	p := pack.NewReader(row)
	ok = p.Byte() == rowFailure
	if h := p.Take(4); len(h) == 4 {
		f.hour = binary.BigEndian.Uint32(h)
	}
	f.account = p.Take(uint64(p.Byte()))
	f.kind = FailureKind(p.Byte())
	f.key = p.Take(uint64(p.Byte()))
	f.reason = p.Take(uint64(p.Byte()))
	f.hint = p.Take(uint64(p.Byte()))
	f.ip = p.Take(uint64(p.Byte()))
	if c := p.Take(2); len(c) == 2 {
		f.country = Country(c)
	}
	return f, ok && !p.Bad() && len(p.Rest()) == 0
}

// failures counts the failed requests until they are written. It belongs to the writer.
type failures struct {
	hour uint32
	rows map[string]uint64          // of the hour, by row: counts not yet written
	held map[store.AccountID]uint32 // of the hour: rows of each account
	key  []byte
}

func newFailures() failures {
	return failures{rows: make(map[string]uint64), held: make(map[store.AccountID]uint32)}
}

// add counts f. Rows of the hour stay in memory after they are written, with a count of 0,
// so that the bound holds for the hour; requests that began in an earlier one count in
// this.
func (s *failures) add(f *failure[[]byte]) {
	if f.hour = max(f.hour, s.hour); f.hour > s.hour {
		s.hour = f.hour
		clear(s.rows)
		clear(s.held)
	}
	bound := uint32(maxAccountFailures)
	if len(f.account) == 0 {
		bound = maxStrayFailures
	}
	for _, drop := range []bool{false, true} {
		f.withoutOrigin = drop
		if s.key = f.append(s.key[:0]); s.count(f, bound) {
			return
		}
		bound *= 2
	}
	f.withoutOriginator = true
	s.key = f.append(s.key[:0])
	s.count(f, ^uint32(0))
}

// count adds one to the row s.key, unless that would be a new one beyond the bounds.
func (s *failures) count(f *failure[[]byte], bound uint32) bool {
	if n, ok := s.rows[string(s.key)]; ok {
		s.rows[string(s.key)] = n + 1
		return true
	}
	held := s.held[store.AccountID(f.account)]
	if held >= bound || len(s.rows) >= maxFailures && bound != ^uint32(0) {
		return false
	}
	s.held[store.AccountID(f.account)] = held + 1
	s.rows[string(s.key)] = 1
	return true
}

// note counts a record, if it failed.
func (s *failures) note(r *record, v *request[[]byte], country Country) {
	if r.flags&recDenied == 0 && v.flags&flagFailed == 0 || len(v.reason) == 0 {
		return
	}
	var text [48]byte
	var ip []byte
	if a := v.ip(); a.IsValid() {
		ip = a.AppendTo(text[:0])
	}
	hint := v.hint
	if r.flags&recDenied == 0 || len(v.key) > 0 || len(v.by) > 0 {
		hint = nil // of a caller that is known, this is its name
	}
	s.add(&failure[[]byte]{
		kind: kindOf(v.status, string(v.reason), len(v.by) > 0 && len(v.key) == 0), account: r.account, key: v.key, reason: v.reason, hint: hint, ip: ip,
		country: country, hour: uint32(r.ns / uint64(time.Hour)),
	})
}

// save writes the counts.
func (s *failures) save(batch *pebble.Batch) error {
	for row, n := range s.rows {
		if n == 0 {
			continue
		}
		if err := batch.Merge([]byte(row), tally{requests: n}.append(nil), nil); err != nil {
			return err
		}
		s.rows[row] = 0
	}
	return nil
}

// failuresUntil is the range of the rows of the hours before end.
func failuresUntil(end time.Time) (from, to []byte) {
	return []byte{rowFailure}, binary.BigEndian.AppendUint32([]byte{rowFailure}, uint32(nanos(end)/uint64(time.Hour)))
}

// FailureQuery selects failed requests of an account, in whole hours. Those of unknown
// credentials have the account "".
type FailureQuery struct {
	Account  store.AccountID
	Stray    bool // those of no account too
	From, To time.Time
	Key      store.KeyID // "" is all
	Kinds    []FailureKind
	Most     int // counts of each dimension
}

// FailureCount is the number of failed requests of one value of a dimension.
type FailureCount struct {
	Value    string `json:"value"`
	Country  string `json:"country,omitzero"` // of an address
	Requests int64  `json:"requests"`
}

// FailureCounts are failed requests by several dimensions, the most frequent first.
// Requests without a value, or whose value was not kept, are in the total alone.
type FailureCounts struct {
	Requests  int64          `json:"requests"`
	Reasons   []FailureCount `json:"reasons"`
	Keys      []FailureCount `json:"keys"`
	Addresses []FailureCount `json:"addresses"`
	Countries []FailureCount `json:"countries"`
	Hints     []FailureCount `json:"hints"`
}

// counting sums counts of one dimension by value.
type counting map[string]*FailureCount

func (c counting) add(value, country string, n int64) {
	if value == "" {
		return
	}
	have := c[value]
	if have == nil {
		have = &FailureCount{Value: value, Country: country}
		c[value] = have
	}
	have.Requests = grow(have.Requests, uint64(n))
}

// top lists the most frequent values.
func (c counting) top(most int) []FailureCount {
	out := make([]FailureCount, 0, len(c))
	for _, n := range c {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b FailureCount) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Value, b.Value))
	})
	return out[:min(most, len(out))]
}

// MergeFailures sums counts of several nodes.
func MergeFailures(all []FailureCounts, most int) FailureCounts {
	dimensions := [5]counting{{}, {}, {}, {}, {}}
	var sum FailureCounts
	for i := range all {
		c := &all[i]
		sum.Requests = grow(sum.Requests, uint64(c.Requests))
		for d, list := range [...][]FailureCount{c.Reasons, c.Keys, c.Addresses, c.Countries, c.Hints} {
			for _, n := range list {
				dimensions[d].add(n.Value, n.Country, n.Requests)
			}
		}
	}
	sum.set(&dimensions, most)
	return sum
}

func (c *FailureCounts) set(d *[5]counting, most int) {
	c.Reasons, c.Keys, c.Addresses, c.Countries, c.Hints = d[0].top(most), d[1].top(most), d[2].top(most), d[3].top(most), d[4].top(most)
}

// Failures sums failed requests, those observed before the call included.
func (l *Local) Failures(q FailureQuery) (out FailureCounts, err error) {
	if err := l.turn(false); err != nil {
		return out, err
	}
	if err := l.enter(); err != nil {
		return out, err
	}
	defer l.leave()
	dimensions := [5]counting{{}, {}, {}, {}, {}}
	accounts := []store.AccountID{q.Account}
	if q.Stray && q.Account != "" {
		accounts = append(accounts, "")
	}
	err = q.scan(l, accounts, func(f *failure[[]byte], n int64) {
		out.Requests = grow(out.Requests, uint64(n))
		text := func(b []byte) string { return strings.ToValidUTF8(string(b), "\ufffd") }
		dimensions[0].add(text(f.reason), "", n)
		dimensions[1].add(text(f.key), "", n)
		dimensions[2].add(text(f.ip), f.country.String(), n)
		dimensions[3].add(f.country.String(), "", n)
		dimensions[4].add(text(f.hint), "", n)
	})
	if err != nil {
		return out, fmt.Errorf("read failed requests: %w", err)
	}
	out.set(&dimensions, q.Most)
	return out, nil
}

// scan calls use with the rows that q selects.
func (q *FailureQuery) scan(l *Local, accounts []store.AccountID, use func(*failure[[]byte], int64)) error {
	to := q.To
	if to.IsZero() {
		to = l.now().Add(time.Hour)
	}
	first := max(nanos(q.From), nanos(l.now().Add(-failureKeep-time.Hour))) / uint64(time.Hour)
	last := (nanos(to) + uint64(time.Hour) - 1) / uint64(time.Hour)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowFailure}, UpperBound: []byte{rowFailure + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for hour := first; hour < last; hour++ {
		for _, account := range accounts {
			prefix := appendName(binary.BigEndian.AppendUint32([]byte{rowFailure}, uint32(hour)), account)
			for ok := it.SeekGE(prefix); ok && strings.HasPrefix(string(it.Key()), string(prefix)); ok = it.Next() {
				f, whole := parseFailure(it.Key())
				t, err := parseTally(it.Value())
				if !whole || err != nil {
					return errCorrupt
				}
				if (q.Key == "" || q.Key == store.KeyID(f.key)) && (len(q.Kinds) == 0 || slices.Contains(q.Kinds, f.kind)) {
					use(&f, int64(t.requests))
				}
			}
		}
		// Go to the next hour that holds anything at all.
		if !it.SeekGE(binary.BigEndian.AppendUint32([]byte{rowFailure}, uint32(hour+1))) {
			break
		}
		hour = max(hour, uint64(binary.BigEndian.Uint32(it.Key()[1:]))-1)
	}
	return it.Error()
}
