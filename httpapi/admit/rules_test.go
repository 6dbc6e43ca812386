package admit

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// rules sets the account's.
func (h *harness) rules(list ...store.LimitRule) {
	h.Helper()
	h.apply(&store.Command{Change: &store.AccountUpdate{Rules: &list}})
}

// call checks and charges one request of a unit to method and path.
func (h *harness) call(key, method, path string) (Pass, *fault.Error) {
	h.Helper()
	r := post(key, func(r *http.Request) { r.Method, r.URL.Path = method, path })
	p, f := h.Gate.Check(r.Context(), h1.RequestOf(r), here, Rule{Route: "/"}, h.now)
	if f != nil {
		h.Fatalf("check: %v", f)
	}
	return p, h.Charge(h.Context(), &p, 1, 0, h.now)
}

func rule(name string, n int64, w limiter.Window, per store.RulePer, set func(*store.LimitRule)) store.LimitRule {
	r := store.LimitRule{Name: name, Requests: n, Window: w, Per: per}
	if set != nil {
		set(&r)
	}
	return r
}

// A rule refuses the third request that it is for, and no other.
func TestRules(t *testing.T) {
	type who struct{ key, method, path string }
	for name, c := range map[string]struct {
		rule    store.LimitRule
		counted []who // by one count
		others  []who
	}{
		"account": {rule("r", 2, limiter.EachMinute, store.PerAccount, nil), []who{{"a", "POST", "/v1/chat"}, {"b", "GET", "/x"}}, []who{{"test", "POST", "/v1/chat"}}},
		"key":     {rule("r", 2, limiter.EachHour, store.PerKey, nil), []who{{"a", "POST", "/v1/chat"}, {"a", "GET", "/x"}}, []who{{"b", "POST", "/v1/chat"}, {"test", "POST", "/v1/chat"}}},
		"type": {rule("r", 2, limiter.EachDay, store.PerAccount, func(r *store.LimitRule) { r.Match.Type = ptr(store.Test) }),
			[]who{{"test", "POST", "/v1/chat"}}, []who{{"a", "POST", "/v1/chat"}}},
		"environment": {rule("r", 2, limiter.EachMonth, store.PerAccount, func(r *store.LimitRule) { r.Match.Environment = ptr("staging") }),
			[]who{{"b", "POST", "/v1/chat"}}, []who{{"a", "POST", "/v1/chat"}}},
		"no environment": {rule("r", 2, limiter.EachDay, store.PerKey, func(r *store.LimitRule) { r.Match.Environment = ptr("") }),
			[]who{{"a", "POST", "/v1/chat"}}, []who{{"b", "POST", "/v1/chat"}}},
		"route": {rule("r", 2, limiter.EachDay, store.PerKey, func(r *store.LimitRule) { r.Match.Route = ptr("POST /v1/chat") }),
			[]who{{"a", "POST", "/v1/chat"}}, []who{{"a", "GET", "/v1/chat"}, {"a", "POST", "/v1/chats"}, {"b", "POST", "/v1/chat"}}},
		"subtree": {rule("r", 2, limiter.EachMinute, store.PerAccount, func(r *store.LimitRule) { r.Match.Route = ptr("/v1/files/{id}") }),
			[]who{{"a", "GET", "/v1/files/1"}, {"b", "DELETE", "/v1/files/2"}}, []who{{"a", "GET", "/v1/files"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			keys := map[string]string{
				"a": h.key(nil), "b": h.key(func(k *store.Key) { k.Environment = "staging" }),
				"test": h.key(func(k *store.Key) { k.Type = store.Test }),
			}
			h.rules(c.rule)
			call := func(w who) (Pass, *fault.Error) { return h.call(keys[w.key], w.method, w.path) }
			for i := range 2 {
				if _, f := call(c.counted[i%len(c.counted)]); f != nil {
					t.Fatalf("request %d: %v", i, f)
				}
			}
			for _, w := range c.counted {
				p, f := call(w)
				if code(f) != fault.LimitRule || f.Policy != "r" || f.RetryAfter < 1 || !strings.HasPrefix(f.Sentence(), "You have exceeded your rate limit") {
					t.Errorf("%+v: %+v", w, f)
				}
				if policy, limit, left := p.Limits.Refusal(); policy != "r" || limit != 2 || left != 0 {
					t.Errorf("%+v was refused by %s, %d of %d left", w, policy, left, limit)
				}
			}
			for _, w := range c.others {
				if _, f := call(w); f != nil {
					t.Errorf("%+v is not counted, and is refused: %v", w, f)
				}
			}
			h.rules()
			if _, f := call(c.counted[0]); f != nil {
				t.Errorf("without the rule: %v", f)
			}
		})
	}
}

// A shadow rule lets everything pass, and says which requests it would have refused.
func TestShadowRules(t *testing.T) {
	for w := limiter.EachMinute; w <= limiter.EachMonth; w++ {
		h := newHarness(t)
		key := h.key(nil)
		h.rules(rule("dry", 2, w, store.PerKey, func(r *store.LimitRule) { r.Shadow = true }))
		for i := range 4 {
			p, f := h.call(key, "POST", "/")
			if f != nil {
				t.Fatalf("%v: request %d: %v", w, i, f)
			}
			if got, want := p.Would(), i >= 2; slices.Contains(got, "dry") != want {
				t.Errorf("%v: request %d: would refuse %v, want %v", w, i, got, want)
			}
			if lines := string(AppendLimitHeaders(nil, &p.Limits, h.now)); strings.Contains(lines, "dry") {
				t.Errorf("%v: clients are shown %s", w, lines)
			}
		}
	}
}

// A rule ends by itself.
func TestUntil(t *testing.T) {
	h := newHarness(t)
	key := h.key(nil)
	h.rules(rule("r", 1, limiter.EachDay, store.PerAccount, func(r *store.LimitRule) { r.Until = h.now.Add(time.Hour) }))
	if _, f := h.call(key, "POST", "/"); f != nil {
		t.Fatal(f)
	}
	for _, c := range []struct {
		after time.Duration
		code  fault.Code
	}{{0, fault.LimitRule}, {time.Hour - 1, fault.LimitRule}, {1, ""}} {
		h.pass(c.after)
		if _, f := h.call(key, "POST", "/"); code(f) != c.code {
			t.Errorf("after %v more: %v", c.after, f)
		}
	}
}

// A rotation keeps a key's counts under rules: they are those of its lineage.
func TestRotationKeepsRules(t *testing.T) {
	for w := limiter.EachMinute; w <= limiter.EachMonth; w++ {
		h := newHarness(t)
		first := h.key(func(k *store.Key) { k.ID = "key_0" })
		h.rules(rule("r", 4, w, store.PerKey, nil))
		second := apikey.New(apikey.LivePrefix)
		for range 2 {
			if _, f := h.call(first, "POST", "/"); f != nil {
				t.Fatal(f)
			}
		}
		h.apply(&store.Command{Change: &store.KeyRotate{
			ID: "key_0", New: "key_1", Hash: apikey.Hash(h.store.Pepper(), second), Hint: "h", OverlapEndsAt: h.now.Add(24 * time.Hour), Counts: true,
		}})
		for _, key := range []string{second, first} {
			if _, f := h.call(key, "POST", "/"); f != nil {
				t.Fatal(f)
			}
		}
		for i, key := range []string{second, first} {
			if _, f := h.call(key, "POST", "/"); code(f) != fault.LimitRule {
				t.Errorf("%v: key %d: %v", w, i, f)
			}
		}
	}
}

// Headers name every rule of the request with its window, and the one with the fewest
// units left is in the X- headers.
func TestHeadersOfRules(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key := h.key(nil)
	h.rules(
		rule("per-hour", 50, limiter.EachHour, store.PerKey, nil), rule("daily", 20, limiter.EachDay, store.PerAccount, nil),
		rule("elsewhere", 1, limiter.EachDay, store.PerAccount, func(r *store.LimitRule) { r.Match.Route = ptr("/other") }),
		rule("long", 900, limiter.EachMonth, store.PerAccount, nil), rule("quick", 30, limiter.EachMinute, store.PerAccount, nil),
	)
	p, f := h.call(key, "POST", "/v1/chat")
	if f != nil {
		t.Fatal(f)
	}
	got := http.Header{}
	SetLimitHeaders(got, &p.Limits, h.now)
	for name, want := range map[string]string{
		HeaderPolicy:    `"minute";q=60;w=60, "month";q=1000, "per-hour";q=50;w=3600, "daily";q=20;w=86400, "long";q=900, "quick";q=30;w=60`,
		HeaderLimit:     "20",
		HeaderRemaining: "19",
	} {
		if v := strings.Join(got[name], ""); v != want {
			t.Errorf("%s: %s\nwant %s", name, v, want)
		}
	}
	if v := strings.Join(map[string][]string(got)[HeaderState], ""); !strings.Contains(v, `"per-hour";r=49;t=72, "daily";r=19;t=43200`) {
		t.Errorf("%s: %s", HeaderState, v)
	}
	lines := string(AppendLimitHeaders(nil, &p.Limits, h.now))
	for name, v := range got {
		if !strings.Contains(lines, name+": "+v[0]+"\r\n") {
			t.Errorf("HTTP/1.1 has no line %s: %s in %q", name, v[0], lines)
		}
	}
}

// A request that costs more than a policy ever holds is told so, and no wait.
func TestRequestsThatNeverFit(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*harness, *store.Key)
		code fault.Code
		says string
	}{
		"minute":    {func(h *harness, _ *store.Key) { h.limits(5, 1000) }, fault.RequestsPerMinute, `costs 7 units, and the policy "minute" never holds more than 5`},
		"month":     {func(h *harness, _ *store.Key) { h.limits(60, 6) }, fault.RequestsPerMonth, `the policy "month" never holds more than 6`},
		"key":       {func(_ *harness, k *store.Key) { k.Limits = own(4, 0) }, fault.RequestsPerMinute, `the policy "key-minute" never holds more than 4`},
		"key month": {func(_ *harness, k *store.Key) { k.Limits = own(0, 3) }, fault.RequestsPerMonth, `the policy "key-month" never holds more than 3`},
		"rule": {func(h *harness, _ *store.Key) {
			h.rules(rule("hourly", 100, limiter.EachHour, store.PerAccount, func(r *store.LimitRule) { r.Burst = ptr(int64(2)) }))
		}, fault.LimitRule, `the policy "hourly" never holds more than 2`},
		"day":    {func(h *harness, _ *store.Key) { h.rules(rule("daily", 6, limiter.EachDay, store.PerKey, nil)) }, fault.LimitRule, `the policy "daily" never holds more than 6`},
		"budget": {func(_ *harness, k *store.Key) { k.MonthlyBudget = ptr(store.MoneyUnit) }, fault.BudgetExceeded, "reserves 2, more than the key's whole monthly budget of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			key := h.key(func(k *store.Key) { c.set(h, k) })
			p, f := h.Check(post(key, nil), here, chat, h.now)
			if f != nil {
				t.Fatal(f)
			}
			f = h.Charge(t.Context(), &p, 7, 2*store.MoneyUnit, h.now)
			if code(f) != c.code || f.RetryAfter != 0 || !strings.Contains(f.Sentence(), c.says) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A request that reached no upstream is given back to the days and months of its rules.
func TestRefundOfRules(t *testing.T) {
	for _, w := range []limiter.Window{limiter.EachDay, limiter.EachMonth} {
		h := newHarness(t)
		key := h.key(nil)
		h.rules(rule("r", 2, w, store.PerKey, nil))
		for range 5 {
			p, f := h.call(key, "POST", "/")
			if f != nil {
				t.Fatalf("%v: %v", w, f)
			}
			h.Refund(&p, 1, 0)
		}
	}
}

// The verify call judges by the rules that it knows enough about.
func TestVerifyByRules(t *testing.T) {
	h := newHarness(t)
	key := h.key(nil)
	h.rules(rule("chat", 1, limiter.EachDay, store.PerKey, func(r *store.LimitRule) { r.Match.Route = ptr("POST /v1/chat") }))
	verify := func(path string) VerifyAnswer {
		t.Helper()
		out, f := h.Verify(t.Context(), oneRoute{}, &VerifyRequest{Key: key, Method: "POST", Path: path}, h.now)
		if f != nil {
			t.Fatal(f)
		}
		return out
	}
	if out := verify("/v1/chat"); !out.Valid || out.Limits["chat"].Limit != 1 || out.Limits["chat"].Remaining != 0 {
		t.Errorf("the first: %+v", out)
	}
	if out := verify("/v1/chat"); out.Valid || *out.Code != fault.LimitRule {
		t.Errorf("the second: %+v", out)
	}
	for _, path := range []string{"/v1/other", ""} {
		if out := verify(path); !out.Valid {
			t.Errorf("%q: %+v", path, out)
		}
	}
}

// oneRoute admits every request.
type oneRoute struct{}

func (oneRoute) Judge(*h1.Request) ([]Demand, *fault.Error) {
	return []Demand{{Rule: Rule{Route: "/"}, Units: 1}}, nil
}

// A key has at most its bound of requests in flight, and one above it costs nothing.
func TestRequestsInFlight(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key, other := h.key(func(k *store.Key) { k.Limits = &store.Limits{MaxConcurrent: ptr(int64(2))} }), h.key(nil)
	var open []Pass
	for i := range 3 {
		p, f := h.send(key, 1)
		if i < 2 {
			if f != nil {
				t.Fatal(f)
			}
			open = append(open, p)
		} else if code(f) != fault.TooManyInFlight || f.RetryAfter != 1 {
			t.Fatalf("the third: %+v", f)
		}
	}
	if p, f := h.send(other, 0); f != nil || p.Limits.States[0].Remaining != 58 {
		t.Errorf("after two charges: %+v, %v", p.Limits, f)
	}
	h.Leave(&open[0])
	h.Leave(&open[0])
	if n := h.InFlight(); n != 1 {
		t.Errorf("%d in flight", n)
	}
	p, f := h.send(key, 1)
	if f != nil {
		t.Fatalf("after one has ended: %v", f)
	}
	h.Leave(&p)
	if _, f := h.send(key, 61); code(f) != fault.RequestsPerMinute || h.InFlight() != 1 {
		t.Errorf("a refused request holds a place: %v, %d in flight", f, h.InFlight())
	}
}
