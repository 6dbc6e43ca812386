package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// page answers with text.
func page(status int, text string, own bool) answer {
	return answer{do: func(w http.ResponseWriter, _ *http.Request, _ string) {
		if !own {
			w.Header().Del("X-Request-Id")
			w.Header().Set("Content-Type", "text/html")
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}}
}

// A wrong token, a foreign server, a proxy listener and a node that does not run are told
// apart, whatever the command; other refusals stay as they are.
func TestDiagnosis(t *testing.T) {
	const refused = `{"error":{"type":"authentication_error","code":"invalid_key","message":"The API key is not known.","request_id":"r"}}`
	const unknown = `{"error":{"type":"invalid_request","code":"not_found","message":"No such route or endpoint.","request_id":"r"}}`
	const missing = `{"error":{"type":"invalid_request","code":"not_found","message":"There is no such key in this account.","request_id":"r"}}`
	admin, livez, html := page(200, "openapi: 3.1.0\n", true), page(200, `{"status":"ok","reason":null}`, true), page(200, "<html>Welcome", false)
	for _, c := range []struct {
		name    string
		answers map[string]answer // beside a 404 of html
		err     string
		probes  bool
	}{
		{"a wrong token", map[string]answer{"GET /v1/keys": page(401, refused, true), "GET /openapi.yaml": admin}, "does not accept this token; check PERFGATE_TOKEN", true},
		{"a proxy without the route", map[string]answer{"GET /v1/keys": page(404, unknown, true), "GET /openapi.yaml": page(404, unknown, true), "GET /livez": livez}, "is the proxy listener of a perfgate node", true},
		{"a proxy that wants a key", map[string]answer{"GET /v1/keys": page(401, refused, true), "GET /openapi.yaml": page(401, refused, true), "GET /livez": livez}, "is the proxy listener of a perfgate node", true},
		{"a proxy before a web site", map[string]answer{"GET /v1/keys": page(404, "<html>", true), "GET /openapi.yaml": html, "GET /livez": livez}, "is the proxy listener of a perfgate node", true},
		{"a web site", map[string]answer{"GET /v1/keys": html, "GET /openapi.yaml": html, "GET /livez": html}, "is not a perfgate management API; check --server", true},
		{"a web site with errors", map[string]answer{"GET /v1/keys": page(502, "<html>", false), "GET /openapi.yaml": page(404, "", false), "GET /livez": page(404, "", false)}, "answered 502 Bad Gateway", true},
		{"no such key", map[string]answer{"GET /v1/keys": page(404, missing, true)}, "There is no such key in this account. (not_found)", false},
		{"no such call", map[string]answer{"GET /v1/keys": page(404, unknown, true), "GET /openapi.yaml": admin}, "No such route or endpoint. (not_found)", true},
	} {
		s := start(t, c.answers)
		got := s.run(t, "", "keys", "list")
		if got.code != 1 || got.out != "" || !strings.Contains(got.err, c.err) || strings.Contains(got.err, "pgop_token") {
			t.Errorf("%s: %+v", c.name, got)
		}
		calls := s.received()
		if probed := strings.Contains(calls, "/openapi.yaml"); probed != c.probes {
			t.Errorf("%s: calls\n%s", c.name, calls)
		}
		for _, r := range s.calls {
			if r.line != "GET /v1/keys?limit=1000" && r.header.Get("Authorization") != "" {
				t.Errorf("%s: %s sends the token", c.name, r.line)
			}
		}
	}
	s := start(t, nil)
	s.Close()
	if got := s.run(t, "", "keys", "list"); got.code != 1 || !strings.Contains(got.err, "no server listens at") || !strings.Contains(got.err, "perfgate serve") {
		t.Errorf("nothing listens: %+v", got)
	}
}

// With --json an error is one line of JSON on stderr: the API's own, or the command's.
func TestErrorsAsJSON(t *testing.T) {
	s := start(t, map[string]answer{
		"POST /v1/keys": page(422, `{"error":{"type":"invalid_request","code":"invalid_value","message":"name: is bad; type: is bad.","param":"/name","errors":[{"param":"/name","message":"name: is bad."},{"param":"/type","message":"type: is bad."}],"request_id":"r"}}`, true),
		"GET /v1/usage": page(500, "<html>", false),
		"GET /v1/keys":  page(429, `{"error":{"type":"rate_limit_exceeded","code":"requests_per_minute","message":"You have exceeded your rate limit","retry_after":7,"request_id":"r"}}`, true),
	})
	for args, want := range map[string]struct {
		exit int
		json string
	}{
		"keys create a --type live": {1, `{"type":"invalid_request","code":"invalid_value","message":"name: is bad; type: is bad.","param":"/name","errors":[{"param":"/name","message":"name: is bad."},{"param":"/type","message":"type: is bad."}]}`},
		"keys list":                 {1, `{"type":"rate_limit_exceeded","code":"requests_per_minute","message":"You have exceeded your rate limit","retry_after":7}`},
		"usage":                     {1, `{"type":"command_error","code":"failed","message":"the server at `},
		"keys get":                  {2, `{"type":"command_error","code":"usage","message":"accepts 1 arg(s)`},
		"keys get x":                {2, `{"type":"command_error","code":"usage","message":"the id of a key begins`},
	} {
		got := s.run(t, "", append(strings.Fields(args), "--json")...)
		var doc struct{ Error json.RawMessage }
		if err := json.Unmarshal([]byte(got.err), &doc); err != nil || got.code != want.exit || got.out != "" || !strings.HasPrefix(string(doc.Error), strings.TrimSuffix(want.json, "}")) {
			t.Errorf("%s: %+v, %v", args, got, err)
		}
	}
}

// A bulk revocation that matches nothing fails: its filter may have a typo. Dates stand
// for their first moment in UTC.
func TestRevokeMany(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys/revoke": {body: `{"matched":0,"revoked":0,"dry_run":false,"ids":[],"revocation":{"index":1,"effective":true,"took_ms":1,"nodes":[]}}`}})
	for _, args := range []string{"--environment nosuch", "--environment nosuch --json", "--environment nosuch --dry-run", "--created-by op_1 --yes"} {
		got := s.run(t, "", append([]string{"keys", "revoke"}, strings.Fields(args)...)...)
		if got.code != 1 || !strings.Contains(got.err, "no key matches") || !strings.Contains(got.out, "matched") {
			t.Errorf("%s: %+v", args, got)
		}
	}
	for flag, sent := range map[string]string{"2027-01-31": `"2027-01-31T00:00:00Z"`, "2027-01-31T10:00:00+02:00": `"2027-01-31T10:00:00+02:00"`} {
		s.calls = nil
		s.run(t, "", "keys", "revoke", "--created-before", flag)
		if got := s.received(); !strings.Contains(got, `"created_before":`+sent) {
			t.Errorf("%s sends %s", flag, got)
		}
	}
	if got := s.run(t, "", "keys", "revoke", "--created-before", "31.1.2027"); got.code != 2 || !strings.Contains(got.err, "2027-01-31") {
		t.Errorf("%+v", got)
	}
}
