package admit

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/limiter"
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
