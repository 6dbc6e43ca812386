package local

import (
	"bytes"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
)

// genText draws texts up to and beyond a bound.
func genText(t *rapid.T, label string, bound int) string {
	return rapid.OneOf(rapid.StringN(0, bound, 2*bound), rapid.Just(strings.Repeat("x", bound+1))).Draw(t, label)
}

func genObservation(t *rapid.T) *Observation {
	o := &Observation{
		Method: rapid.SampledFrom([]string{"GET", "POST", "DELETE", "BREW", "", strings.Repeat("M", 40)}).Draw(t, "method"),
		Status: rapid.IntRange(100, 599).Draw(t, "status"), Duration: time.Duration(rapid.Int64Range(-5, 1<<40).Draw(t, "duration")),
		Account: store.AccountID(genText(t, "account", maxName)), Key: store.KeyID(genText(t, "key", maxName)),
		Route: genText(t, "route", maxRoute), RequestID: genText(t, "id", maxID), Action: genText(t, "action", maxAction),
		Code: genText(t, "code", maxReason), UserAgent: genText(t, "agent", maxAgent), Environment: genText(t, "environment", maxEnviron),
		Units: rapid.Int64Range(-1, math.MaxInt64).Draw(t, "units"), Cost: store.Money(rapid.Int64Range(-1, math.MaxInt64).Draw(t, "cost")),
		Type:  rapid.SampledFrom([]store.KeyType{store.Test, store.Live}).Draw(t, "type"),
		Actor: store.Actor{Type: rapid.SampledFrom(actors[:]).Draw(t, "actor"), ID: genText(t, "actor id", maxName), Name: genText(t, "actor name", maxHint)},
	}
	if rapid.Bool().Draw(t, "address") {
		o.Client = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "client")))
	}
	return o
}

// The record of a request is read as it was written, cut to its bounds, and never larger
// than the bound that the queue reserves for it.
func TestRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := genObservation(t)
		v := appendRequest(nil, o, true)
		r, err := parseRequest(v)
		if err != nil || len(v) > maxValue {
			t.Fatalf("%d bytes of %d, %v", len(v), maxValue, err)
		}
		by := clip(o.Actor.ID, maxName)
		if o.Actor.Type == store.ActorKey {
			by = clip(string(o.Key), maxName)
		}
		if r.methodName() != clip(o.Method, maxMethod) || r.status != o.Status || string(r.key) != clip(string(o.Key), maxName) ||
			string(r.route) != clip(o.Route, maxRoute) || string(r.id) != clip(o.RequestID, maxID) || string(r.action) != clip(o.Action, maxAction) ||
			string(r.reason) != clip(o.Code, maxReason) || string(r.agent) != clip(o.UserAgent, maxAgent) || string(r.hint) != clip(o.Actor.Name, maxHint) ||
			r.actor() != o.Actor.Type || string(r.by) != by || r.ip() != o.Client.Unmap() || (r.flags&flagLive != 0) != (o.Type == store.Live) ||
			r.micros != uint64(max(o.Duration, 0)/time.Microsecond) {
			t.Fatalf("%+v was read as %+v", o, r)
		}
		for n := range v {
			if n == len(v)-4 || n == len(v)-1 {
				continue // as versions without a trail, or without errors, wrote it
			}
			if _, err := parseRequest(v[:n]); err == nil {
				t.Fatalf("%d of %d bytes were read", n, len(v))
			}
		}
		// Usage needs the key, the status and the refusal of an event that is not kept.
		part, err := parseRequest(appendRequest(nil, o, false))
		if err != nil || string(part.key) != string(r.key) || part.status != r.status || string(part.reason) != string(r.reason) || string(part.route) != string(r.route) {
			t.Fatalf("without an event: %+v, %v", part, err)
		}
	})
}

// Records of the queue follow each other, each within the room that was reserved.
func TestRecordsInQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var buf []byte
		var put []*Observation
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			o := genObservation(t)
			before := len(buf)
			buf = appendRecord(buf, o, uint64(len(put)), recEvent|recCounted)
			if len(buf)-before > recordBound(o) {
				t.Fatalf("%d bytes, %d were reserved", len(buf)-before, recordBound(o))
			}
			put = append(put, o)
		}
		for cut := range min(len(buf), 200) {
			for rest := buf[:cut]; len(rest) > 0; {
				_, next, ok := nextRecord(rest)
				if !ok {
					break
				}
				if len(next) >= len(rest) {
					t.Fatal("a record without length")
				}
				rest = next
			}
		}
		for i, o := range put {
			r, rest, ok := nextRecord(buf)
			if !ok || r.ns != uint64(i) || string(r.account) != clip(string(o.Account), maxName) || r.units != uint64(max(o.Units, 0)) ||
				r.cost != uint64(max(o.Cost, 0)) || string(r.env) != clip(o.Environment, maxEnviron) || !bytes.Equal(r.value, appendRequest(nil, o, true)) {
				t.Fatalf("record %d: %+v, %v", i, r, ok)
			}
			buf = rest
		}
		if len(buf) != 0 {
			t.Fatalf("%d bytes are left", len(buf))
		}
	})
}

// Counts hold at the largest number instead of wrapping, in any order.
func TestTallies(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) tally {
		n := rapid.OneOf(rapid.Uint64Range(0, 1000), rapid.Uint64Range(math.MaxInt64-1000, math.MaxInt64))
		return tally{n.Draw(t, "requests"), n.Draw(t, "denied"), n.Draw(t, "units"), n.Draw(t, "cost"), n.Draw(t, "would")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		left, right := a, c
		left.add(b)
		left.add(c)
		right.add(b)
		right.add(a)
		if left != right {
			t.Fatalf("%+v in one order, %+v in the other", left, right)
		}
		if left.requests > math.MaxInt64 || left.cost < a.cost || left.cost < c.cost {
			t.Fatalf("%+v + %+v + %+v = %+v", a, b, c, left)
		}
		v := left.append(nil)
		if got, err := parseTally(v); err != nil || got != left {
			t.Fatalf("%+v was read as %+v, %v", left, got, err)
		}
		short := left
		short.would = 0 // as earlier versions wrote it
		for n := range v {
			if _, err := parseTally(v[:n]); err == nil && n != len(short.append(nil)) {
				t.Fatalf("%d of %d bytes were read", n, len(v))
			}
		}
		if _, err := parseTally(append(v, 0)); err == nil {
			t.Fatal("a byte after the end was ignored")
		}
	})
}

// The newest last use wins in any order of merging; equal times do not depend on it.
func TestMergeOfLastUses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var values [][]byte
		newest := uint64(0)
		for range rapid.IntRange(1, 6).Draw(t, "uses") {
			ns := rapid.Uint64Range(0, 5).Draw(t, "time")
			newest = max(newest, ns)
			values = append(values, appendLast(nil, ns, netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "address")}), Country{}))
		}
		merged := func(order []int) []byte {
			m, err := newMerger().Merge(lastKey("k"), values[order[0]])
			if err != nil {
				t.Fatal(err)
			}
			for i, at := range order[1:] {
				merge := m.MergeNewer
				if i%2 == 0 {
					merge = m.MergeOlder
				}
				if err := merge(values[at]); err != nil {
					t.Fatal(err)
				}
			}
			v, _, err := m.Finish(true)
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Clone(v)
		}
		order := make([]int, len(values))
		for i := range order {
			order[i] = i
		}
		first := merged(order)
		second := merged(rapid.Permutation(order).Draw(t, "order"))
		u, err := parseLast(first)
		if !bytes.Equal(first, second) || err != nil || nanos(u.At) != newest {
			t.Fatalf("%x and %x, %v; the newest is %d", first, second, err, newest)
		}
	})
	if _, err := newMerger().Merge(lastKey("k"), []byte{1}); err == nil {
		t.Error("a cut last use was merged")
	}
}
