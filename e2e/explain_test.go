package e2e

import (
	"strings"
	"testing"
)

// A request can be explained by the id that its answer carried.
func TestExplain(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	key, id := s.create(map[string]any{"scopes": []string{"read"}})
	denied := do(t, "POST", s.proxy+"/v1/x", as(key), "{}")
	if denied.Code() != "insufficient_scope" {
		t.Fatal(denied.Code())
	}
	env := []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}
	out, errs, code := perfgate(t, env, "", "explain", denied.Str("error", "request_id"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{id, "insufficient_scope", "lacks the scope", "status 403", "127.0.0.1", "POST /v1/x", "was not sent on", "perfgate keys get " + id} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	passed := do(t, "GET", s.proxy+"/v1/y?secret=1", as(key), "")
	out, errs, code = perfgate(t, env, "", "explain", passed.Header.Get("X-Request-Id"))
	for _, want := range []string{"GET /v1/y", up + ", 1 attempt", "status 200"} {
		if !strings.Contains(out, want) || strings.Contains(out, "secret") {
			t.Errorf("exit code %d, %s: %q is not in, or the query is in\n%s", code, errs, want, out)
		}
	}
	created := s.manage(200, "GET", "/v1/audit-logs?action=key.create&limit=1000", nil)
	events := created.JSON["data"].([]any)
	request := events[len(events)-1].(map[string]any)["request"].(map[string]any)["id"].(string)
	if out, _, code := perfgate(t, env, "", "explain", "--json", request); code != 0 || !strings.Contains(out, `"key.create"`) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if _, errs, code := perfgate(t, env, "", "explain", "req_nobody"); code != 1 || !strings.Contains(errs, "req_nobody") {
		t.Errorf("an unknown id: exit code %d: %s", code, errs)
	}
}
