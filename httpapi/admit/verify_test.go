package admit

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
)

func TestVerify(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	h.apply(&store.Command{Account: "acct_1", Change: &store.AccountCreate{Account: store.Account{ID: "acct_1", Name: "one", Tier: "pro"}}})
	good := h.key(nil)
	theirs := h.key(func(k *store.Key) { k.Account = "acct_1"; k.Disabled = true })
	narrow := h.key(func(k *store.Key) {
		k.Scopes, k.Routes = []string{"chat", "read"}, []string{"GET /v1/models"}
		k.Allowlist = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	for _, c := range []struct {
		name string
		q    VerifyRequest
		want fault.Code
		id   bool
	}{
		{"good", VerifyRequest{Key: good}, "", true},
		{"good, to its own account", VerifyRequest{Key: good, Caller: "default"}, "", true},
		{"another account's, to a key", VerifyRequest{Key: theirs, Caller: "default"}, fault.InvalidKey, false},
		{"another account's, to an operator", VerifyRequest{Key: theirs}, fault.KeyDisabled, true},
		{"unknown", VerifyRequest{Key: apikey.New(apikey.LivePrefix)}, fault.InvalidKey, false},
		{"malformed", VerifyRequest{Key: "what"}, fault.MalformedKey, false},
		{"nothing but the key is known", VerifyRequest{Key: narrow}, "", true},
		{"an address in the list", VerifyRequest{Key: narrow, IP: "::ffff:10.1.2.3"}, "", true},
		{"an address outside", VerifyRequest{Key: narrow, IP: "192.0.2.1"}, fault.IPNotAllowed, true},
		{"a method it lacks the scope for", VerifyRequest{Key: narrow, Method: "POST"}, fault.InsufficientScope, true},
		{"a route of its own", VerifyRequest{Key: narrow, Method: "GET", Path: "/v1/models?x=1"}, "", true},
		{"a path alone", VerifyRequest{Key: narrow, Path: "/v1/models"}, "", true},
		{"another route", VerifyRequest{Key: narrow, Path: "/v1/chat"}, fault.RouteNotAllowed, true},
		{"the address comes first", VerifyRequest{Key: narrow, IP: "192.0.2.1", Path: "/v1/chat"}, fault.IPNotAllowed, true},
		{"more units than there are", VerifyRequest{Key: good, Units: ptr(int64(61))}, fault.RequestsPerMinute, true},
	} {
		a, f := h.Verify(t.Context(), anyRoute, &c.q, h.now)
		if f != nil {
			t.Errorf("%s: %v", c.name, f)
			continue
		}
		if a.Valid != (c.want == "") || a.Valid != (a.Code == nil) || !a.Valid && *a.Code != c.want {
			t.Errorf("%s: %+v, want %q", c.name, a, c.want)
		}
		if (a.KeyID != nil) != c.id || (a.Account != nil) != c.id || (a.Scopes != nil) != c.id {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

func TestVerifyConsumes(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key := h.key(nil)
	ask := func(units int64, consume bool) VerifyAnswer {
		a, f := h.Verify(t.Context(), anyRoute, &VerifyRequest{Key: key, Units: &units, Consume: &consume}, h.now)
		if f != nil {
			t.Fatal(f)
		}
		return a
	}
	if a := ask(60, false); !a.Valid || a.Limits["minute"] != (VerifyLimit{60, 60, noon.Unix()}) {
		t.Fatalf("a look: %+v", a)
	}
	if a := ask(45, true); !a.Valid || a.Limits["minute"] != (VerifyLimit{60, 15, noon.Unix() + 45}) || a.Limits["month"].Remaining != 955 {
		t.Fatalf("45 taken: %+v", a)
	}
	for _, consume := range []bool{false, true} {
		if a := ask(16, consume); a.Valid || *a.Code != fault.RequestsPerMinute || *a.RetryAfter != 1 || a.Limits["minute"].Remaining != 15 {
			t.Fatalf("16 of 15: %+v", a)
		}
	}
	// The same bucket as the traffic's.
	if p, f := h.send(key, 15); f != nil || p.Limits.States[0].Remaining != 0 {
		t.Fatalf("the traffic: %v %+v", f, p.Limits.States[0])
	}
	if a, _ := h.Verify(t.Context(), anyRoute, &VerifyRequest{Key: key}, h.now); a.Valid {
		t.Fatalf("without units one is asked for: %+v", a)
	}
	h.pass(time.Second)
	if a, _ := h.Verify(t.Context(), anyRoute, &VerifyRequest{Key: key}, h.now); !a.Valid || a.Limits["minute"].Remaining != 0 {
		t.Fatalf("and taken: %+v", a)
	}
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: *ask(0, false).KeyID}})
	if a := ask(1, true); a.Valid || *a.Code != fault.KeyRevoked || a.Limits != nil {
		t.Fatalf("revoked: %+v", a)
	}
}

func TestVerifyRefuses(t *testing.T) {
	h := newHarness(t)
	for field, q := range map[string]VerifyRequest{
		"key:":   {},
		"ip:":    {Key: vector, IP: "10.0.0.0/8"},
		"path:":  {Key: vector, Path: "v1"},
		"units:": {Key: vector, Units: ptr(int64(-1))},
	} {
		if _, f := h.Verify(t.Context(), anyRoute, &q, noon); code(f) != fault.InvalidValue || !strings.HasPrefix(f.Sentence(), field) {
			t.Errorf("%s %v", field, f)
		}
	}
	h.shut = true
	if _, f := h.Verify(t.Context(), anyRoute, &VerifyRequest{Key: vector}, noon); code(f) != fault.NodeIsolated {
		t.Errorf("isolated: %v", f)
	}
	if _, f := h.RateLimit(&RateRequest{Identifier: "u", Limit: 1, Window: "1s"}, noon); code(f) != fault.NodeIsolated {
		t.Errorf("isolated: %v", f)
	}
}

// The answer has all its members, null or empty where there is nothing to say.
func TestVerifyAnswerJSON(t *testing.T) {
	b, err := json.Marshal(VerifyAnswer{Code: ptr(fault.InvalidKey)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), `{"valid":false,"code":"invalid_key","key_id":null,"account":null,"scopes":[],"limits":{},"retry_after":null}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	b, err = json.Marshal(VerifyAnswer{Valid: true, Scopes: []string{"read"}, Limits: map[string]VerifyLimit{"minute": {60, 59, 7}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), `{"valid":true,"code":null,"key_id":null,"account":null,"scopes":["read"],"limits":{"minute":{"limit":60,"remaining":59,"reset":7}},"retry_after":null}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestScopeNames(t *testing.T) {
	r := &store.Record{Scopes: store.ScopeAdmin | store.ScopeRead, Extra: &store.Extra{Custom: []string{"chat"}}}
	if got := r.ScopeNames(); !reflect.DeepEqual(got, []string{"read", "admin", "chat"}) {
		t.Error(got)
	}
}

func TestRateLimit(t *testing.T) {
	h := newHarness(t)
	ask := func(q RateRequest) RateAnswer {
		a, f := h.RateLimit(&q, h.now)
		if f != nil {
			t.Fatal(f)
		}
		return a
	}
	user := RateRequest{Identifier: "user-1", Limit: 2, Window: "60s", Caller: "default"}
	if a := ask(user); !a.Allowed || a != (RateAnswer{Allowed: true, Limit: 2, Remaining: 1, Reset: noon.Unix() + 30}) {
		t.Fatalf("the first: %+v", a)
	}
	ask(user)
	a := ask(user)
	if a.Allowed || a.Remaining != 0 || a.Reset != noon.Unix()+60 || a.RetryAfter == nil || *a.RetryAfter != 30 {
		t.Fatalf("the third: %+v", a)
	}
	for name, q := range map[string]RateRequest{
		"another identifier": {Identifier: "user-2", Limit: 2, Window: "60s", Caller: "default"},
		"another namespace":  {Namespace: "login", Identifier: "user-1", Limit: 2, Window: "60s", Caller: "default"},
		"another account":    {Identifier: "user-1", Limit: 2, Window: "60s", Caller: "acct_1"},
		"shifted":            {Namespace: "user", Identifier: "-1", Limit: 2, Window: "60s", Caller: "default"},
		"only looking":       {Identifier: "user-1", Limit: 2, Window: "60s", Caller: "default", Units: ptr(int64(0))},
		"a larger burst":     {Identifier: "user-3", Limit: 2, Burst: ptr(int64(5)), Units: ptr(int64(5)), Window: "1h", Caller: "default"},
	} {
		if a := ask(q); !a.Allowed {
			t.Errorf("%s: %+v", name, a)
		}
	}
	h.pass(time.Duration(*a.RetryAfter) * time.Second)
	if a := ask(user); !a.Allowed {
		t.Errorf("after exactly Retry-After: %+v", a)
	}
	for field, q := range map[string]RateRequest{
		"identifier:": {Limit: 1, Window: "1s"},
		"namespace:":  {Namespace: strings.Repeat("x", 257), Identifier: "u", Limit: 1, Window: "1s"},
		"limit:":      {Identifier: "u", Window: "1s"},
		"window:":     {Identifier: "u", Limit: 1, Window: "60"},
		"window: ":    {Identifier: "u", Limit: 1, Window: "25h"},
		"window:  ":   {Identifier: "u", Limit: 1, Window: "999ms"},
		"burst:":      {Identifier: "u", Limit: 1, Window: "1s", Burst: ptr(int64(0))},
		"burst: ":     {Identifier: "u", Limit: 1, Window: "24h", Burst: ptr(int64(53_376))},
		"burst:  ":    {Identifier: "u", Limit: 1_000, Window: "24h", Burst: ptr(int64(100_000_000))},
		"burst:   ":   {Identifier: "u", Limit: 1, Window: "60s", Burst: ptr(int64(100_000_000))},
		"units:":      {Identifier: "u", Limit: 1, Window: "1s", Units: ptr(int64(2))},
	} {
		if _, f := h.RateLimit(&q, h.now); code(f) != fault.InvalidValue || !strings.HasPrefix(f.Sentence(), strings.TrimSpace(field)) {
			t.Errorf("%s %v", field, f)
		}
	}
}

// fixed is a table of routes that judges every request alike.
type fixed struct {
	demands []Demand
	fault   *fault.Error
}

func (f fixed) Judge(*h1.Request) ([]Demand, *fault.Error) { return f.demands, f.fault }

var anyRoute = fixed{demands: []Demand{{Units: 1}}}

// Every route that may take the request must admit it, at the highest price.
func TestVerifyAsksEveryRoute(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key := h.key(func(k *store.Key) { k.Scopes, k.MaxCostPerCall = []string{"read", "a"}, new(store.Money(5e9)) })
	gone := h.key(func(k *store.Key) { k.Disabled = true })
	open, closed := Demand{Rule: Rule{Public: true}, Units: 9}, Demand{Rule: Rule{Require: []string{"b"}}}
	for _, c := range []struct {
		name    string
		key     string
		routes  fixed
		want    fault.Code
		charged int64
	}{
		{"none", key, fixed{}, fault.NotFound, 0},
		{"not found", key, fixed{fault: fault.New(fault.NotFound)}, fault.NotFound, 0},
		{"one", key, fixed{demands: []Demand{{Units: 7}}}, "", 7},
		{"two", key, fixed{demands: []Demand{{Units: 2, Rule: Rule{Require: []string{"a"}}}, {Units: 3}}}, "", 3},
		{"one that refuses", key, fixed{demands: []Demand{{Units: 2}, closed}}, fault.InsufficientScope, 0},
		{"public", key, fixed{demands: []Demand{open}}, "", 0},
		{"public, to a key that is disabled", gone, fixed{demands: []Demand{open}}, fault.KeyDisabled, 0},
		{"public or not", key, fixed{demands: []Demand{open, closed}}, fault.InsufficientScope, 0},
		{"too dear", key, fixed{demands: []Demand{{Cost: 6e9}}}, fault.CostAboveLimit, 0},
		{"too many units", key, fixed{demands: []Demand{{Units: 61}}}, fault.RequestsPerMinute, 0},
	} {
		a, f := h.Verify(t.Context(), c.routes, &VerifyRequest{Key: c.key, Method: "GET", Path: "/x"}, h.now)
		if f != nil || a.Valid != (c.want == "") || !a.Valid && *a.Code != c.want || a.Charged != c.charged {
			t.Errorf("%s: %+v, %v, want %q and %d units", c.name, a, f, c.want, c.charged)
		}
	}
}

// A verdict spends the budget as the request would: a fixed cost stays, the bound on
// a cost that the response reports is only asked for.
func TestVerifySpendsTheBudget(t *testing.T) {
	h := newHarness(t)
	key := h.key(func(k *store.Key) { k.MonthlyBudget, k.MaxCostPerCall = new(store.Money(10e9)), new(store.Money(4e9)) })
	ask := func(d Demand) VerifyAnswer {
		a, f := h.Verify(t.Context(), fixed{demands: []Demand{d}}, &VerifyRequest{Key: key, Path: "/x"}, h.now)
		if f != nil {
			t.Fatal(f)
		}
		return a
	}
	for i := range 3 {
		if a := ask(Demand{Units: 1, Cost: 3e9}); !a.Valid || a.Cost != 3e9 {
			t.Fatalf("call %d of 3 for 3 each: %+v", i, a)
		}
	}
	if a := ask(Demand{Units: 1}); a.Valid || *a.Code != fault.BudgetExceeded {
		t.Errorf("a call that may cost 4, of 1 that is left: %+v", a)
	}
	for range 5 {
		if a := ask(Demand{Units: 1, MaxCost: 1e9}); !a.Valid || a.Cost != 0 {
			t.Errorf("a call that may cost 1, of 1 that is left: %+v", a)
		}
	}
}

// A burst within the bound is held in full, whatever the window; one unit more is
// beyond it.
func TestRateLimitHoldsItsBurst(t *testing.T) {
	h := newHarness(t)
	for _, q := range []RateRequest{
		{Identifier: "a", Limit: 1, Window: "24h", Burst: ptr(int64(53_375))},
		{Identifier: "b", Limit: 1, Window: "60s", Burst: ptr(int64(76_861_433))},
		{Identifier: "c", Limit: 100, Window: "60s", Burst: ptr(int64(100_000_000))},
	} {
		q.Units = q.Burst
		a, f := h.RateLimit(&q, h.now)
		if f != nil || !a.Allowed || a.Remaining != 0 || a.Reset <= noon.Unix() {
			t.Errorf("%s: all of the burst of %d at once: %+v, %v", q.Identifier, *q.Burst, a, f)
		}
		more := *q.Burst + 1
		q.Identifier, q.Burst, q.Units = q.Identifier+"2", &more, nil
		if _, f := h.RateLimit(&q, h.now); code(f) != fault.InvalidValue {
			t.Errorf("%s: a burst of %d: %v", q.Identifier, more, f)
		}
	}
}
