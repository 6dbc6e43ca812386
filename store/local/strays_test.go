package local

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// An account's refusals push out each other: a key that was revoked and goes on at full speed
// costs its account no event of a request. Both kinds keep a proof, and only the refusals
// have a gap at their beginning.
func TestRefusalsTakeNoRoomOfRequests(t *testing.T) {
	now := day0
	l := still(t, Config{Clock: func() time.Time { return now }})
	const requests, refusals = 200, 10_000
	for range requests {
		l.Observe(admitted(now, "acct_a", "key_good"))
	}
	must(t, l.w.write(true, false))
	for range 40 {
		now = now.Add(span / 4)
		for range refusals / 40 {
			l.Observe(denial(now, "acct_a", "key_revoked", 401))
		}
		must(t, l.w.write(true, false))
		_, err := l.w.sealAll()
		must(t, err)
	}
	must(t, l.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) / 2
	for range 4 {
		must(t, l.w.trim(now))
	}
	go l.run()
	defer func() { must(t, l.Close()) }()
	r, list := exported(t, l, store.EventQuery{Account: "acct_a"})
	if len(r.Findings) > 0 || r.Proven != len(list) {
		t.Errorf("the proof of %d events finds %+v", len(list), r)
	}
	kept := map[store.Outcome]int{}
	streams := map[string]bool{}
	for _, e := range list {
		kept[e.Outcome]++
		streams[chain.StreamOf(e.ID)] = true
	}
	if kept[store.Success] != requests {
		t.Errorf("%d of %d requests are left", kept[store.Success], requests)
	}
	if n := kept[store.Denied]; n == 0 || n > refusals*3/4 {
		t.Errorf("%d of %d refusals are left", n, refusals)
	}
	if len(streams) != 2 {
		t.Errorf("the events are of the streams %v", streams)
	}
	gaps := 0
	for _, c := range r.Chains {
		if c.Before > 0 {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("%d chains begin after events that are gone, want that of the refusals: %+v", gaps, r.Chains)
	}
}

// A third of the room for accounts is kept for refusals: requests of another account do not
// push them out.
func TestRequestsTakeNoRoomOfRefusals(t *testing.T) {
	now := day0
	l := still(t, Config{Clock: func() time.Time { return now }})
	for range 200 {
		l.Observe(denial(now, "acct_a", "key_revoked", 401))
	}
	for range 40 {
		now = now.Add(span / 4)
		for range 250 {
			l.Observe(admitted(now, "acct_b", "key_b"))
		}
		must(t, l.w.write(true, false))
	}
	must(t, l.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	l.cfg.MaxBytes = l.sizeOf(t, rowEvent) / 2
	for range 4 {
		must(t, l.w.trim(now))
	}
	if n := len(times(t, l, "acct_a")); n != 200 {
		t.Errorf("%d of 200 refusals are left", n)
	}
	if n := len(times(t, l, "acct_b")); n == 0 || n >= 8000 {
		t.Errorf("%d of 10,000 requests are left", n)
	}
	go l.run()
	must(t, l.Close())
}

// Refusals without an account are kept whole at first; the rest of a minute is one event for
// each address and reason, and the sum is what was sent. The proof covers the counts.
func TestStraysAreCounted(t *testing.T) {
	now := day0.Add(time.Hour)
	l := written(t, vfs.NewMem(), &now, Config{whole: wholeStrays})
	send := func(ip, code string, n int) {
		for range n {
			o := denial(now, "", code, 401)
			o.Client, o.Country = netip.MustParseAddr(ip), "NL"
			l.Observe(o)
		}
	}
	sum := func() (events int, sent map[string]int) {
		sent = map[string]int{}
		for _, e := range collect(t, l, store.EventQuery{Account: store.Operators, Newest: true}) {
			events++
			sent[e.IP+" "+e.Reason] += max(1, int(e.Count))
			if e.Count > 0 && (e.Outcome != store.Denied || e.Country != "NL" || e.Request.Status != 401 || e.Request.StartedAt.IsZero()) {
				t.Errorf("an event of many: %+v %+v", e, e.Request)
			}
		}
		return events, sent
	}
	send("203.0.113.7", "invalid_key", 500)
	send("203.0.113.7", "missing_key", wholeStrays)
	send("2001:db8::1", "invalid_key", 10)
	send("2001:db8::2", "invalid_key", 10) // the same /64
	if n, _ := sum(); n != 3*wholeStrays {
		t.Errorf("%d events within the minute, want %d of each kind whole", n, wholeStrays)
	}
	now = now.Add(time.Minute)
	send("203.0.113.7", "invalid_key", 1) // a new minute begins whole again
	n, sent := sum()
	if n != 3*wholeStrays+2+1 || sent["203.0.113.7 invalid_key"] != 501 || sent["203.0.113.7 missing_key"] != wholeStrays ||
		sent["2001:db8::1 invalid_key"]+sent["2001:db8::2 invalid_key"] != 20 {
		t.Errorf("%d events of %v", n, sent)
	}
	send("203.0.113.7", "invalid_key", 100)
	r, list := exported(t, l, store.EventQuery{Account: store.Operators})
	if len(r.Findings) > 0 || r.Proven != len(list) || r.Proven == 0 {
		t.Errorf("the proof finds %+v of %d events", r, len(list))
	}
	must(t, l.Close())
}

// From more addresses than the table has room for, refusals are counted by reason.
func TestStraysAreBounded(t *testing.T) {
	now := day0
	l := written(t, vfs.NewMem(), &now, Config{whole: 1})
	const many = maxStrays + 900
	for i := range many {
		o := denial(now, "", "invalid_key", 401)
		o.Client = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		l.Observe(o)
		if i%1000 == 0 {
			must(t, l.Flush()) // the queue holds no flood
		}
	}
	must(t, l.Flush())
	if n := len(l.w.strays.of); n > maxStrays+1 {
		t.Errorf("%d entries", n)
	}
	now = now.Add(time.Minute)
	sum := 0
	for _, e := range collect(t, l, store.EventQuery{}) {
		sum += max(1, int(e.Count))
		if e.Count > 1 && e.IP != "" {
			t.Errorf("refusals of many addresses are those of %s", e.IP)
		}
	}
	if sum != many {
		t.Errorf("%d of %d refusals are counted: %s", sum, many, fmt.Sprint(l.Dropped(), " dropped"))
	}
}
