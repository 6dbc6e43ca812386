package local

import (
	"net/netip"
	"testing"

	"github.com/perfgate/perfgate/store"
)

// Usage shows what a request was charged, refused or not: months and budgets count it, too.
func TestChargesOfRefusedRequests(t *testing.T) {
	for _, c := range []struct {
		name        string
		status      int
		code        string
		units, cost int64
		want        tally
	}{
		{"served", 200, "", 2, 3, tally{requests: 1, units: 2, cost: 3}},
		{"denied", 401, "key_revoked", 0, 0, tally{requests: 1, denied: 1}},
		{"cut by a revocation", 401, "key_revoked", 2, 3, tally{requests: 1, denied: 1, units: 2, cost: 3}},
		{"malformed and not forgiven", 400, "invalid_request", 1, 5, tally{requests: 1, denied: 1, units: 1, cost: 5}},
		{"fault of the upstream", 502, "upstream_down", 1, 5, tally{requests: 1, units: 1, cost: 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := ticking(t, Config{})
			o := admitted(day0, "default", "key_a")
			o.Status, o.Code, o.Units = c.status, c.code, c.units
			o.Cost = store.Money(c.cost)
			l.Observe(o)
			rows, err := l.Usage(UsageQuery{Account: "default", Step: StepDay})
			if err != nil || len(rows) != 1 {
				t.Fatalf("%v, %v", rows, err)
			}
			r := rows[0]
			if got := (tally{uint64(r.Requests), uint64(r.Denied), uint64(r.Units), uint64(r.Cost), uint64(r.Would)}); got != c.want {
				t.Errorf("usage %+v, want %+v", got, c.want)
			}
		})
	}
}

// The writer reads what it took out of the spill under no lock, so that requests that come
// meanwhile must not fill it: they would be counted twice, or end the process.
func TestDrainedSpillIsLeftAlone(t *testing.T) {
	s := newSpill(func(netip.Addr) Country { return Country{} })
	o := admitted(day0, "default", "key_a")
	for i := range 3 {
		rows, last, _ := s.drain() // the first time there is nothing in it
		n := len(rows)
		s.take(o, nanos(day0), recCounted|recUsed)
		if len(rows) != n || len(last) != n || i > 0 && n != 1 {
			t.Errorf("drain %d had %d rows; a request made it %d and %d last uses", i+1, n, len(rows), len(last))
		}
	}
}
