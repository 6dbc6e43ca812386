package e2e

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// codeRoutes has a route for each code that the admission table has no row for.
const codeRoutes = `
[[proxy.routes]]
path = "/v1/"
upstreams = ["%[1]s"]
[[proxy.routes]]
path = "/get/"
methods = ["GET"]
upstreams = ["%[1]s"]
[[proxy.routes]]
path = "/costly/"
cost = "0.5"
upstreams = ["%[1]s"]
[[proxy.routes]]
path = "/slow/"
timeouts = { response_header = "50ms" }
upstreams = ["http://%[2]s"]
`

// refusal is a request and its answer's error.
type refusal struct {
	name, method, path string
	h                  header
	status             int
	kind, code         string
}

// The codes that the admission table has no row for.
func TestRemainingErrorCodes(t *testing.T) {
	up, _ := echo(t)
	slow, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slow.Close() })
	s := start(t, options{config: fmt.Sprintf(codeRoutes, up, slow.Addr())})
	s.roomy()
	live, _ := s.create(nil)
	test, _ := s.create(map[string]any{"type": "test"})
	poor, _ := s.create(map[string]any{"monthly_budget": 1})
	rare, _ := s.create(map[string]any{"limits": map[string]any{"requests_per_month": 1}})
	scarce, _ := s.create(map[string]any{"limits": map[string]any{"requests_per_minute": 1, "burst": 1}})
	s.manage(200, "PATCH", "/v1/account", map[string]any{"browser_keys": "block"})
	for _, k := range []string{poor, poor, rare, scarce} {
		if r := do(t, "GET", s.proxy+"/costly/x", as(k), nil); r.StatusCode != 200 {
			t.Fatalf("%s\n%s", r.Status, r.Raw)
		}
	}
	for _, c := range []refusal{
		{"method", "POST", "/get/x", as(live), 405, "invalid_request", "method_not_allowed"},
		{"browser", "GET", "/v1/x", as(live, header{"Origin": "https://example.com"}), 403, "permission_error", "key_exposed"},
		{"browser's own header", "GET", "/v1/x", as(live, header{"Sec-Fetch-Site": "none"}), 403, "permission_error", "key_exposed"},
		{"browser with a test key", "GET", "/v1/x", as(test, header{"Origin": "https://example.com"}), 200, "", ""},
		{"budget", "GET", "/costly/x", as(poor), 402, "budget_exceeded", "budget_exceeded"},
		{"minute", "GET", "/v1/x", as(scarce), 429, "rate_limit_exceeded", "requests_per_minute"},
		{"month", "GET", "/v1/x", as(rare), 429, "rate_limit_exceeded", "requests_per_month"},
		{"slow upstream", "GET", "/slow/x", as(live), 504, "upstream_error", "upstream_timeout"},
	} {
		c.check(t, s.proxy)
	}
}

// check sends the request and compares the error in both formats.
func (c *refusal) check(t *testing.T, base string) {
	t.Helper()
	r := do(t, c.method, base+c.path, c.h, nil)
	if r.StatusCode != c.status || r.Str("error", "type") != c.kind || r.Code() != c.code {
		t.Errorf("%s: %s %s", c.name, r.Status, r.Raw)
	}
	wait := r.Header.Get("Retry-After")
	if c.status == 429 && (wait == "" || wait != fmt.Sprint(r.At("error", "retry_after")) && wait != fmt.Sprintf("%.0f", r.Num("error", "retry_after")) ||
		!strings.HasPrefix(r.Str("error", "message"), "You have exceeded your rate limit")) {
		t.Errorf("%s: Retry-After %q, %s", c.name, wait, r.Raw)
	}
	c.h["Accept"] = "application/problem+json"
	if c.status < 400 {
		return
	}
	p := do(t, c.method, base+c.path, c.h, nil)
	if p.Header.Get("Content-Type") != "application/problem+json" || p.Num("status") != float64(c.status) || p.Code() != c.code {
		t.Errorf("%s as a problem: %s %s", c.name, p.Status, p.Raw)
	}
}

// A request that is repeated with its Idempotency-Key is carried out once.
func TestIdempotencyKeys(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	post := func(once string, body any) *reply {
		t.Helper()
		return do(t, "POST", s.admin+"/v1/keys", as(s.operator, header{"Idempotency-Key": once}), body)
	}
	body := map[string]any{"name": "once", "type": "live", "environment": "staging"}
	var mu sync.Mutex
	count := map[int]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r := post("one", body)
			mu.Lock()
			defer mu.Unlock()
			count[r.StatusCode]++
		})
	}
	wg.Wait()
	if count[201] != 1 || count[201]+count[200]+count[409] != 8 {
		t.Errorf("eight at once: %v", count)
	}
	again := post("one", body)
	if again.StatusCode != 200 || again.At("key") != nil || again.At("secret_withheld") != true {
		t.Errorf("the repeat: %s %s", again.Status, again.Raw)
	}
	if r := post("one", map[string]any{"name": "other", "type": "live"}); r.StatusCode != 422 {
		t.Errorf("another body: %s", r.Status)
	}
}

// If-Match refuses a change of a key that has changed since it was read.
func TestEntityTags(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	_, id := s.create(nil)
	path := "/v1/keys/" + id
	tag := s.manage(200, "GET", path, nil).Header.Get("ETag")
	change := func() *reply {
		return do(t, "PATCH", s.admin+path, as(s.operator, header{"If-Match": tag}), map[string]any{"name": "renamed"})
	}
	if r := change(); r.StatusCode != 200 || r.At("revocation", "effective") != true || r.Header.Get("ETag") == tag {
		t.Errorf("with the tag: %s %s", r.Status, r.Raw)
	}
	if r := change(); r.StatusCode != 412 || r.Code() != "precondition_failed" {
		t.Errorf("with the old tag: %s %s", r.Status, r.Raw)
	}
}

// Pages show every key once; bulk revocation ends the keys that a filter matches.
func TestCursorsAndBulk(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	s.create(map[string]any{"environment": "staging"})
	for range 6 {
		s.create(map[string]any{"environment": "staging", "type": "test"})
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		r := s.manage(200, "GET", "/v1/keys?environment=staging&limit=3&cursor="+url.QueryEscape(cursor), nil)
		for _, k := range r.At("data").([]any) {
			seen[k.(map[string]any)["id"].(string)] = true
		}
		if cursor = r.Str("next_cursor"); cursor == "" {
			break
		}
	}
	if len(seen) != 7 {
		t.Errorf("pages show %d keys, want 7", len(seen))
	}
	if r := s.manage(400, "GET", "/v1/keys?cursor=forged", nil); r.Code() != "invalid_cursor" {
		t.Errorf("%s", r.Raw)
	}

	staging := map[string]any{"environment": "staging", "type": "test", "dry_run": true}
	if r := s.manage(200, "POST", "/v1/keys/revoke", staging); r.Num("matched") != 6 || r.Num("revoked") != 0 {
		t.Errorf("dry run: %s", r.Raw)
	}
	delete(staging, "dry_run")
	if r := s.manage(200, "POST", "/v1/keys/revoke", staging); r.Num("matched") != 6 || r.Num("revoked") != 6 {
		t.Errorf("bulk: %s", r.Raw)
	}
	s.manage(422, "POST", "/v1/keys/revoke", map[string]any{"reason": "of nothing"})
}

// An import reports each line's outcome, and an imported key works as it is.
func TestImport(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	s.roomy()
	old := "sk_old_0123456789abcdef"
	r := s.manage(200, "POST", "/v1/keys/import", `{"name":"old","type":"live","key":"`+old+`"}`+"\n"+`{"name":"bad"}`+"\n")
	lines := r.At("data").([]any)
	if len(lines) != 2 || lines[0].(map[string]any)["error"] != nil || lines[1].(map[string]any)["error"] == nil {
		t.Errorf("import: %s", r.Raw)
	}
	if r := do(t, "GET", s.proxy+"/x", as(old), nil); r.StatusCode != 200 {
		t.Errorf("the imported key: %s %s", r.Status, r.Raw)
	}
}

// A key with the scope verify sees its own account's keys only.
func TestVerifyStaysInTheAccount(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	mine, id := s.create(nil)
	backend, _ := s.create(map[string]any{"scopes": []string{"verify"}})
	account := s.manage(201, "POST", "/v1/accounts", map[string]any{"name": "Acme"}).Str("id")
	r := do(t, "POST", s.admin+"/v1/keys", as(s.operator, header{"X-Perf-Account": account}), map[string]any{"name": "theirs", "type": "live"})
	theirs := r.Str("key")
	verify := func(key string) *reply {
		return do(t, "POST", s.proxy+"/v1/keys/verify", as(backend), map[string]any{"key": key})
	}
	r = verify(mine)
	if r.At("valid") != true || r.Str("key_id") != id || r.Num("limits", "minute", "remaining") != 59 || r.Header.Get("X-RateLimit-Remaining") == "" {
		t.Errorf("its own: %s %v", r.Raw, r.Header)
	}
	if r := verify(theirs); r.At("valid") != false || r.Str("code") != "invalid_key" || r.At("key_id") != nil {
		t.Errorf("another account's: %s", r.Raw)
	}
	if r := do(t, "GET", s.proxy+"/v1/keys", as(backend), nil); r.Code() != "insufficient_scope" {
		t.Errorf("listing keys: %s", r.Raw)
	}
}

// Tables for people, the API's JSON for machines, 1 for failed, 2 for misused.
func TestCommandLine(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	env := []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}
	key, id := s.create(map[string]any{"name": "Production Server"})
	for _, c := range []struct {
		args  string
		stdin string
		code  int
		want  string // in the output that belongs to code
	}{
		{"keys list", "", 0, "Production Server"},
		{"keys list --json", "", 0, `{"data":[{"id":"` + id},
		{"keys get " + id, "", 0, "active"},
		{"keys verify", key + "\n", 0, "valid"},
		{"keys verify", "pk_live_wrong\n", 1, ""},
		{"keys get key_none", "", 1, "not_found"},
		{"keys create --type live", "", 2, "name"},
		{"keys rotate " + id + " --overlap 1h --json", "", 0, `"replaces":"` + id},
		{"keys nonsense", "", 2, "unknown command"},
		{"allowlist get", "", 0, "CIDR"},
		{"allowlist add 203.0.113.0/24", "", 1, "feature_not_in_tier"},
		{"tiers list", "", 0, "enterprise"},
		{"accounts list", "", 0, "default"},
		{"usage", "", 0, "REQUESTS"},
		{"audit list", "", 0, "key.create"},
		{"audit export --format csv", "", 0, "id,seq,time"},
		{"cluster status", "", 0, "leader"},
		{"health", "", 0, "ok"},
		{"version", "", 0, "perfgate"},
		{"keys list --server http://127.0.0.1:1", "", 1, "connection refused"},
	} {
		out, errs, code := perfgate(t, env, c.stdin, strings.Fields(c.args)...)
		shown := out
		if c.code != 0 {
			shown = errs
		}
		if code != c.code || !strings.Contains(shown, c.want) {
			t.Errorf("perfgate %s: exit %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, out, errs)
		}
	}
}
