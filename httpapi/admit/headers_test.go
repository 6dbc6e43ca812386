package admit

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
		for name, want := range c.want {
			if got := strings.Join(h[name], " | "); len(h[name]) > 1 || got != want {
				t.Errorf("%s: %s: %s, want %s", c.name, name, got, want)
			}
		}
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
