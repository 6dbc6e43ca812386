package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// After exactly Retry-After the next call passes; a denial costs nothing.
func TestRetryAfterIsTrue(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	key, _ := s.create(map[string]any{"limits": map[string]any{"requests_per_minute": 60, "burst": 3, "requests_per_month": 900}})
	for i := range 3 {
		if r := do(t, "GET", s.proxy+"/", as(key), nil); r.StatusCode != 200 {
			t.Fatalf("call %d of the burst: %s\n%s", i, r.Status, r.Raw)
		}
	}
	for round := range 3 {
		var r *reply
		for { // a denied call in between must not push the wait further away
			if r = do(t, "GET", s.proxy+"/", as(key), nil); r.StatusCode == 429 {
				break
			}
		}
		wait, err := strconv.Atoi(r.Header.Get("Retry-After"))
		if err != nil || wait < 1 || float64(wait) != r.Num("error", "retry_after") {
			t.Fatalf("Retry-After %q, body %v", r.Header.Get("Retry-After"), r.At("error", "retry_after"))
		}
		if r.Code() != "requests_per_minute" || r.Str("error", "type") != "rate_limit_exceeded" {
			t.Fatalf("%s", r.Raw)
		}
		<-time.After(time.Duration(wait) * time.Second)
		if r := do(t, "GET", s.proxy+"/", as(key), nil); r.StatusCode != 200 {
			t.Fatalf("round %d: %s after waiting exactly %d s", round, r.Status, wait)
		}
	}
}

// Both header families tell the binding policy, the account's and the key's own.
func TestRateLimitHeaders(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	key, _ := s.create(map[string]any{"limits": map[string]any{"requests_per_minute": 30}})
	before := time.Now().Truncate(time.Second)
	r := do(t, "GET", s.proxy+"/", as(key), nil)
	if got := r.Header.Get("RateLimit-Policy"); got != `"minute";q=60;w=60, "month";q=1000, "key-minute";q=30;w=60` {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	if r.Header.Get("X-RateLimit-Limit") != "30" || r.Header.Get("X-RateLimit-Remaining") != "29" {
		t.Errorf("X-RateLimit-Limit %s, -Remaining %s; want 30, 29", r.Header.Get("X-RateLimit-Limit"), r.Header.Get("X-RateLimit-Remaining"))
	}
	reset, err := strconv.ParseInt(r.Header.Get("X-RateLimit-Reset"), 10, 64)
	// One unit comes back in 2 s, counted from a moment between the request and its answer.
	if at := time.Unix(reset, 0); err != nil || at.Before(before) || time.Until(at) > 4*time.Second {
		t.Errorf("X-RateLimit-Reset %s: in %v, want about 2 s", r.Header.Get("X-RateLimit-Reset"), time.Until(at))
	}
}

// The month is counted in Raft: kill -9 forgets nothing, and live and test never mix.
func TestMonthSurvivesKill(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.manage(201, "POST", "/v1/accounts", map[string]any{"name": "small", "tier": "enterprise",
		"limits": map[string]any{"requests_per_minute": 60_000, "requests_per_month": 40}})
	r := s.manage(200, "GET", "/v1/accounts", nil)
	var account string
	for _, a := range r.JSON["data"].([]any) {
		if m := a.(map[string]any); m["name"] == "small" {
			account = m["id"].(string)
		}
	}
	c := do(t, "POST", s.admin+"/v1/keys", as(s.operator, header{"X-Perf-Account": account}), map[string]any{"name": "k", "type": "live"})
	key := c.Str("key")
	admitted := 0
	spend := func(n int) (last *reply) {
		for range n {
			if last = do(t, "GET", s.proxy+"/", as(key), nil); last.StatusCode != 200 {
				return last
			}
			admitted++
		}
		return last
	}
	if r := spend(10); r.StatusCode != 200 {
		t.Fatalf("%s\n%s", r.Status, r.Raw)
	}
	s.Kill()
	s.run()
	<-time.After(time.Second) // the minute's bucket may begin empty after a crash
	last := spend(40)
	if last.StatusCode != 429 || last.Code() != "requests_per_month" {
		t.Fatalf("after %d requests: %s\n%s", admitted, last.Status, last.Raw)
	}
	// The units at hand, an eighth of the rest, may be lost with the process.
	if admitted > 40 || admitted < 35 {
		t.Errorf("%d of 40 admitted over a crash", admitted)
	}
	if last.Header.Get("X-RateLimit-Limit") != "40" || last.Header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("binding policy: %v", last.Header)
	}
	if w, _ := strconv.Atoi(last.Header.Get("Retry-After")); w < 1 || w > 31*86400 {
		t.Errorf("Retry-After %d", w)
	}
}

// Failed credentials are bounded by address; a valid key from there still passes.
func TestTooManyFailures(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	key, _ := s.create(nil)
	count := map[string]int{}
	began := time.Now()
	for i := range 40 {
		r := do(t, "GET", s.proxy+"/", as(fmt.Sprintf("wrong-%d", i)), nil)
		count[r.Code()]++
		if r.StatusCode == 429 && r.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	// An address may fail 30 times at once and gets one try back every two seconds.
	most := 31 + int(time.Since(began)/(2*time.Second))
	if count["malformed_key"] < 30 || count["malformed_key"] > most || count["malformed_key"]+count["too_many_failures"] != 40 {
		t.Errorf("%v, want 30 to %d malformed_key, then too_many_failures", count, most)
	}
	if r := do(t, "GET", s.proxy+"/", as(key), nil); r.StatusCode != 200 {
		t.Errorf("a valid key is shut out by others' failures: %s", r.Raw)
	}
	if r := do(t, "GET", s.proxy+"/", nil, nil); r.Code() != "missing_key" {
		t.Errorf("without a credential: %s", r.Raw)
	}
}
