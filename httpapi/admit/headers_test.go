package admit

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

func TestSetLimitHeaders(t *testing.T) {
	now := time.Unix(1672531185, 0)
	const s = int64(time.Second)
	for _, c := range []struct {
		name string
		now  time.Time
		d    limiter.Decision
		want map[string]string
	}{
		{"the contract's example", now, limiter.Decision{N: 2, States: [4]limiter.State{
			{Policy: limiter.Minute, Limit: 60, Remaining: 45, Reset: 15 * s},
			{Policy: limiter.MonthQuota, Limit: 1000, Remaining: 812, Reset: 86400 * s},
		}}, map[string]string{
			"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "45", "X-RateLimit-Reset": "1672531200",
			"RateLimit-Policy": `"minute";q=60;w=60, "month";q=1000`,
			"RateLimit":        `"minute";r=45;t=15, "month";r=812;t=86400`,
		}},
		{"all four, a key's own month binds, in debt", now, limiter.Decision{N: 4, Binding: 3, States: [4]limiter.State{
			{Policy: limiter.Minute, Limit: 60, Remaining: 60},
			{Policy: limiter.MonthQuota, Limit: 1000, Remaining: 812, Reset: 86400 * s},
			{Policy: limiter.KeyMinute, Limit: 10, Remaining: 3, Reset: 42 * s},
			{Policy: limiter.KeyMonth, Limit: 5, Remaining: -1, Reset: 86400 * s},
		}}, map[string]string{
			"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1672617585",
			"RateLimit-Policy": `"minute";q=60;w=60, "month";q=1000, "key-minute";q=10;w=60, "key-month";q=5`,
			"RateLimit":        `"minute";r=60;t=0, "month";r=812;t=86400, "key-minute";r=3;t=42, "key-month";r=0;t=86400`,
		}},
		{"times are rounded up", now.Add(500 * time.Millisecond), limiter.Decision{N: 1, States: [4]limiter.State{
			{Policy: limiter.Minute, Limit: 60, Remaining: 59, Reset: s/2 + 1},
		}}, map[string]string{
			"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": "1672531187",
			"RateLimit-Policy": `"minute";q=60;w=60`, "RateLimit": `"minute";r=59;t=1`,
		}},
		{"the longest numbers", now, limiter.Decision{N: 4, Binding: 1, States: [4]limiter.State{
			{Policy: limiter.Minute, Limit: 1<<63 - 1, Remaining: 1<<63 - 1, Reset: 1<<63 - 1},
			{Policy: limiter.MonthQuota, Limit: 1<<63 - 1, Remaining: 1<<63 - 1, Reset: 1<<63 - 1},
			{Policy: limiter.KeyMinute, Limit: 1<<63 - 1, Remaining: 1<<63 - 1, Reset: 1<<63 - 1},
			{Policy: limiter.KeyMonth, Limit: 1<<63 - 1, Remaining: 1<<63 - 1, Reset: 1<<63 - 1},
		}}, map[string]string{"X-RateLimit-Reset": "10895903222"}},
		{"a burst above the limit", now, limiter.Decision{N: 1, States: [4]limiter.State{
			{Policy: limiter.Minute, Limit: 60, Remaining: 599, Reset: s},
		}}, map[string]string{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "60", "RateLimit": `"minute";r=60;t=1`}},
		{"no limits", now, limiter.Decision{Allowed: true}, map[string]string{
			"X-RateLimit-Limit": "", "X-RateLimit-Remaining": "", "X-RateLimit-Reset": "", "RateLimit-Policy": "", "RateLimit": "",
		}},
	} {
		h := http.Header{}
		SetLimitHeaders(h, &c.d, c.now)
		sameLines(t, h, &c.d, c.now)
		for name, want := range c.want {
			if got := strings.Join(h[name], " | "); len(h[name]) > 1 || got != want {
				t.Errorf("%s: %s: %s, want %s", c.name, name, got, want)
			}
		}
	}
}

// sameLines fails unless AppendLimitHeaders writes the fields of h, one line each, after
// what is there.
func sameLines(t interface{ Fatalf(string, ...any) }, h http.Header, d *limiter.Decision, now time.Time) {
	const before = "HTTP/1.1 200 OK\r\n"
	lines, ok := strings.CutPrefix(string(AppendLimitHeaders([]byte(before), d, now)), before)
	got := map[string]string{}
	for line := range strings.SplitSeq(lines, "\r\n") {
		if name, value, found := strings.Cut(line, ": "); found {
			got[name] = value
		} else if line != "" {
			t.Fatalf("the line %q", line)
		}
	}
	if !ok || len(got) != len(h) || strings.Count(lines, "\r\n") != len(h) || lines != "" && !strings.HasSuffix(lines, "\r\n") {
		t.Fatalf("%q for %v", lines, h)
	}
	for name, values := range h {
		if len(values) != 1 || got[name] != values[0] {
			t.Fatalf("%s: %q, want %q", name, got[name], values)
		}
	}
}

// The lines of HTTP/1.1 are the fields of the map, for any decision, and need no memory
// of their own.
func TestAppendLimitHeadersIsSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-5, 2000), rapid.Int64Range(0, 100e9))
		d := limiter.Decision{N: rapid.IntRange(0, 4).Draw(t, "policies")}
		for i := range d.N {
			d.States[i] = limiter.State{
				Policy: rapid.SampledFrom([]limiter.Policy{limiter.Minute, limiter.MonthQuota, limiter.KeyMinute, limiter.KeyMonth}).Draw(t, "policy"),
				Limit:  number.Draw(t, "limit"), Remaining: number.Draw(t, "remaining"), Reset: number.Draw(t, "reset"),
			}
		}
		d.Binding = rapid.IntRange(0, max(0, d.N-1)).Draw(t, "binding")
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns"))
		h := http.Header{}
		SetLimitHeaders(h, &d, now)
		sameLines(t, h, &d, now)
	})
	d := limiter.Decision{N: 4}
	for i := range d.States {
		d.States[i] = limiter.State{Policy: limiter.KeyMinute, Limit: 1e9, Remaining: 1e9 - 1, Reset: 3e18}
	}
	room := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { AppendLimitHeaders(room, &d, time.Unix(1672531185, 0)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A header that is appended to must not run into its neighbour's value.
func TestLimitHeadersDoNotShareRoom(t *testing.T) {
	h := http.Header{}
	d := limiter.Decision{N: 1, States: [4]limiter.State{{Policy: limiter.Minute, Limit: 60, Remaining: 59}}}
	SetLimitHeaders(h, &d, time.Unix(0, 0))
	for name := range h {
		h[name] = append(h[name], "x")
	}
	for name, values := range h {
		if len(values) != 2 || values[0] == "x" {
			t.Errorf("%s became %q", name, values)
		}
	}
	if len(h) != 5 {
		t.Errorf("%d headers", len(h))
	}
}

func TestLimitHeadersAllocateTwice(t *testing.T) {
	h, now := http.Header{}, time.Unix(1672531185, 0)
	d := limiter.Decision{N: 2, States: [4]limiter.State{
		{Policy: limiter.Minute, Limit: 60, Remaining: 45, Reset: 15e9},
		{Policy: limiter.MonthQuota, Limit: 1000, Remaining: 812, Reset: 86400e9},
	}}
	if n := testing.AllocsPerRun(100, func() { SetLimitHeaders(h, &d, now) }); n > 2 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkSetLimitHeaders(b *testing.B) {
	h, now := http.Header{}, time.Unix(1672531185, 0)
	d := limiter.Decision{N: 2, States: [4]limiter.State{
		{Policy: limiter.Minute, Limit: 60, Remaining: 45, Reset: 15e9},
		{Policy: limiter.MonthQuota, Limit: 1000, Remaining: 812, Reset: 86400e9},
	}}
	b.ReportAllocs()
	for b.Loop() {
		SetLimitHeaders(h, &d, now)
	}
}

func BenchmarkAppendLimitHeaders(b *testing.B) {
	now, room := time.Unix(1672531185, 0), make([]byte, 0, 512)
	d := limiter.Decision{N: 2, States: [4]limiter.State{
		{Policy: limiter.Minute, Limit: 60, Remaining: 45, Reset: 15e9},
		{Policy: limiter.MonthQuota, Limit: 1000, Remaining: 812, Reset: 86400e9},
	}}
	b.ReportAllocs()
	for b.Loop() {
		AppendLimitHeaders(room, &d, now)
	}
}

// Limits above the largest bucket, which an earlier version took, are shown as they hold:
// in headers and verdicts, of accounts and of keys.
func TestShownLimitsHold(t *testing.T) {
	const more = 5 * limiter.MaxBurst
	for name, set := range map[string]func(*harness) (key string){
		"account": func(h *harness) string { h.limits(more, store.MaxRequests); return h.key(nil) },
		"key": func(h *harness) string {
			return h.key(func(k *store.Key) { k.Limits = &store.Limits{PerMinute: ptr(int64(more))} })
		},
		"burst": func(h *harness) string {
			return h.key(func(k *store.Key) {
				k.Limits = &store.Limits{PerMinute: ptr(int64(limiter.MaxBurst)), Burst: ptr(int64(more))}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			key := set(h)
			policy := limiter.KeyMinute
			if name == "account" {
				policy = limiter.Minute
			} else {
				h.limits(limiter.MaxBurst, store.MaxRequests)
			}
			p, f := h.send(key, 1)
			if f != nil {
				t.Fatal(f)
			}
			for _, st := range p.Limits.States[:p.Limits.N] {
				if st.Policy == policy && (st.Limit != limiter.MaxBurst || st.Remaining != limiter.MaxBurst-1) {
					t.Errorf("header: %+v", st)
				}
			}
			v, f := h.Verify(t.Context(), fixed{demands: []Demand{{Units: 1}}}, &VerifyRequest{Key: key, Consume: new(bool)}, h.now)
			if got := v.Limits[policy.String()]; f != nil || got.Limit != limiter.MaxBurst || got.Remaining != limiter.MaxBurst-1 {
				t.Errorf("verdict: %+v, %v", got, f)
			}
			// Exactly the number of requests that Remaining shows passes.
			if _, f := h.send(key, limiter.MaxBurst-1); f != nil {
				t.Errorf("the rest: %v", f)
			}
			if _, f := h.send(key, 1); code(f) != fault.RequestsPerMinute {
				t.Errorf("one more: %v", f)
			}
			h.pass(time.Minute)
			if _, f := h.send(key, limiter.MaxBurst); f != nil {
				t.Errorf("a minute later: %v", f)
			}
			h.pass(30 * time.Second)
			if p, f = h.send(key, 1); f != nil {
				t.Fatal(f)
			}
			if st := p.Limits.States[p.Limits.Binding]; st.Remaining != limiter.MaxBurst/2-1 {
				t.Errorf("half a minute after the last: %+v", st)
			}
		})
	}
}

// A verdict shows no more left than the limit, as the headers do.
func TestVerdictOfABurst(t *testing.T) {
	h := newHarness(t)
	key := h.key(func(k *store.Key) {
		k.Limits = &store.Limits{PerMinute: ptr(int64(10)), Burst: ptr(int64(100))}
	})
	v, f := h.Verify(t.Context(), fixed{demands: []Demand{{Units: 1}}}, &VerifyRequest{Key: key}, h.now)
	if got := v.Limits["key-minute"]; f != nil || got.Limit != 10 || got.Remaining != 10 {
		t.Errorf("%+v, %v", got, f)
	}
}
