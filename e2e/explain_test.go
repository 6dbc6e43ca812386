package e2e

import (
	"strings"
	"testing"
)

// What became of a request can be asked by the id that its answer carried.
func TestExplain(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	key, id := s.create(map[string]any{"scopes": []string{"read"}})
	denied := do(t, "POST", s.proxy+"/v1/x", as(key), "{}")
	if denied.code() != "insufficient_scope" {
		t.Fatal(denied.code())
	}
	env := []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}
	out, errs, code := perfgate(t, env, "", "explain", denied.str("error", "request_id"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{id, "insufficient_scope", "lacks the scope", "status 403", "127.0.0.1", "POST"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	created := s.manage(200, "GET", "/v1/audit-logs?action=key.create&limit=1000", nil)
	events := created.json["data"].([]any)
	request := events[len(events)-1].(map[string]any)["request"].(map[string]any)["id"].(string)
	if out, _, code := perfgate(t, env, "", "explain", "--json", request); code != 0 || !strings.Contains(out, `"key.create"`) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if _, errs, code := perfgate(t, env, "", "explain", "req_nobody"); code != 1 || !strings.Contains(errs, "req_nobody") {
		t.Errorf("an unknown id: exit code %d: %s", code, errs)
	}
}
