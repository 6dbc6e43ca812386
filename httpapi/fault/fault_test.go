package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Every code with its status, as clients know them: a change here breaks them.
var statuses = map[int][]Code{
	400: {"ambiguous_credentials", "key_in_query", "cost_above_limit", "duplicate_member", "invalid_json", "invalid_cursor", "invalid_request"},
	401: {"missing_key", "malformed_key", "invalid_key", "key_revoked", "key_expired", "key_disabled", "invalid_credentials", "second_factor_required", "invalid_session"},
	402: {"budget_exceeded"},
	403: {"ip_not_allowed", "insufficient_scope", "route_not_allowed", "key_exposed", "feature_not_in_tier", "forbidden", "account_suspended"},
	404: {"not_found"},
	405: {"method_not_allowed"},
	408: {"request_timeout"},
	409: {"conflict", "would_lock_out", "would_lose_quorum", "idempotency_in_progress"},
	412: {"precondition_failed"},
	413: {"body_too_large"},
	414: {"uri_too_long"},
	415: {"unsupported_media_type", "unsupported_content_encoding"},
	417: {"expectation_failed"},
	422: {"invalid_value", "unknown_field", "idempotency_mismatch", "limit_reached", "wrong_region"},
	429: {"requests_per_minute", "requests_per_month", "limit_rule", "too_many_in_flight", "too_many_failures"},
	431: {"headers_too_large"},
	500: {"internal_error"},
	501: {"not_implemented"},
	502: {"upstream_unreachable"},
	503: {"node_isolated", "no_leader", "unknown_outcome", "unavailable", "too_busy"},
	504: {"upstream_timeout"},
	505: {"http_version_not_supported"},
	508: {"loop_detected"},
}

var types = map[int]string{
	400: "invalid_request", 401: "authentication_error", 402: "budget_exceeded", 403: "permission_error",
	404: "invalid_request", 405: "invalid_request", 408: "invalid_request", 409: "invalid_request", 412: "invalid_request",
	413: "invalid_request", 414: "invalid_request", 415: "invalid_request", 417: "invalid_request", 422: "invalid_request",
	429: "rate_limit_exceeded", 431: "invalid_request", 500: "internal_error", 501: "internal_error",
	502: "upstream_error", 503: "unavailable", 504: "upstream_error", 505: "internal_error", 508: "internal_error",
}

func TestEveryCode(t *testing.T) {
	listed := 0
	for status, codes := range statuses {
		for _, c := range codes {
			listed++
			if _, ok := table[c]; !ok {
				t.Errorf("%s is not in the table", c)
			}
			if c.Status() != status || c.Type() != types[status] {
				t.Errorf("%s: %d %s, want %d %s", c, c.Status(), c.Type(), status, types[status])
			}
			s := New(c).Sentence()
			if s == "" || strings.TrimSpace(s) != s {
				t.Errorf("%s: sentence %q", c, s)
			}
			if status == 429 && !strings.HasPrefix(s, "You have exceeded your rate limit") {
				t.Errorf("%s: sentence %q", c, s)
			}
		}
	}
	if n := len(Codes()); n != listed {
		t.Errorf("the table has %d codes, this test %d", n, listed)
	}
	if unknown := Code("no such code"); unknown.Status() != 500 || unknown.Type() != "internal_error" {
		t.Errorf("an unknown code: %d %s", unknown.Status(), unknown.Type())
	}
}

func write(method, accept string, e *Error) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set(RequestIDHeader, "req-1")
	w.Header().Set("Content-Length", "7") // of the answer that is not given
	w.Header().Set("ETag", `"9"`)
	r := httptest.NewRequest(method, "/v1/x", nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	Write(w, r, e)
	resp := w.Result()
	resp.Request = &http.Request{URL: &url.URL{Host: "api.test"}}
	return resp
}

func TestWrite(t *testing.T) {
	resp := write("GET", "", &Error{Code: RequestsPerMinute, RetryAfter: 30, Cause: errors.New("secret")})
	body, _ := io.ReadAll(resp.Body)
	const want = `{"error":{"type":"rate_limit_exceeded","code":"requests_per_minute","message":"You have exceeded your rate limit","retry_after":30,"request_id":"req-1"}}`
	if got := strings.TrimSpace(string(body)); got != want {
		t.Errorf("body %s\nwant %s", got, want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Retry-After": "30", "Cache-Control": "no-store",
		"Content-Length": "", "ETag": "", "WWW-Authenticate": "", "Allow": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if resp.StatusCode != 429 {
		t.Errorf("status %d", resp.StatusCode)
	}
	resp = write("HEAD", "", &Error{Code: MethodNotAllowed, Allow: "GET, POST"})
	if body, _ := io.ReadAll(resp.Body); len(body) > 0 || resp.Header.Get("Allow") != "GET, POST" {
		t.Errorf("HEAD: %q, Allow %q", body, resp.Header.Get("Allow"))
	}
}

func TestProblemDocument(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                         false,
		"*/*":                      false,
		"application/json":         false,
		"application/problem+json": true,
		"Application/Problem+JSON": true,
		"text/html, application/problem+json;q=0.5":              true,
		"application/problem+json;q=0":                           false,
		"application/problem+json;q=0.0":                         false,
		"application/problem+json;q=0.5, application/json":       false,
		"application/json, application/problem+json":             true,
		"application/json;q=0.4, application/problem+json;q=0.5": true,
		"application/problem+json;q=0.5, */*":                    false,
		"application/*":                                          false,
		"application/problem+json;q=0.5, */*;q=0.1":              true,
		"application/problem+jsonx":                              false,
		";;,application/problem+json":                            true,
	} {
		resp := write("GET", accept, New(KeyRevoked))
		var doc struct {
			Type, Title, Detail string
			Status              int
			Error               Body
		}
		if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type") == "application/problem+json"; got != want {
			t.Errorf("Accept %q: %s", accept, resp.Header.Get("Content-Type"))
		}
		if doc.Error.Code != KeyRevoked || doc.Error.RequestID != "req-1" {
			t.Errorf("Accept %q: the error object is %+v", accept, doc.Error)
		}
		if want && (doc.Type != "about:blank" || doc.Title != "Unauthorized" || doc.Status != 401 || doc.Detail != doc.Error.Message) {
			t.Errorf("Accept %q: %+v", accept, doc)
		}
	}
}

func TestChallenge(t *testing.T) {
	const realm = `Bearer realm="perf"`
	for _, c := range Codes() {
		want := ""
		switch {
		case c == MissingKey:
			want = realm
		case c == InsufficientScope:
			want = realm + `, error="insufficient_scope", scope="write chat"`
		case c.Status() == 401:
			want = realm + `, error="invalid_token"`
		}
		if got := write("GET", "", &Error{Code: c, Scope: "write chat"}).Header.Get("WWW-Authenticate"); got != want {
			t.Errorf("%s: %q, want %q", c, got, want)
		}
	}
	if got := Challenge(&Error{Code: InsufficientScope, Scope: "a\"b\\c\r\né"}); !strings.HasSuffix(got, `scope="abc"`) {
		t.Errorf("a scope that is none: %q", got)
	}
}

func TestDecodeReadsWhatWriteWrote(t *testing.T) {
	for _, accept := range []string{"", "application/problem+json"} {
		for _, c := range Codes() {
			sent := &Error{Code: c, RetryAfter: 7, Message: "A sentence <of> its own."}
			got := Decode(write("GET", accept, sent))
			if got.Code != c || got.RetryAfter != 7 || got.Message != sent.Message || got.Foreign() {
				t.Errorf("%s: %+v", c, got)
			}
		}
	}
}

func TestDecodeOfOthers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   Code
	}{
		{404, "<html>", NotFound},
		{405, "", MethodNotAllowed},
		{503, `{"error":"down"}`, Unavailable},
		{500, `{"error":{}}`, Internal},
		{418, "null", InvalidRequest},
		{413, strings.Repeat("x", 2*maxBody), InvalidRequest},
	} {
		got := Decode(&http.Response{
			StatusCode: c.status, Status: fmt.Sprint(c.status, " ", http.StatusText(c.status)),
			Body:    io.NopCloser(strings.NewReader(c.body)),
			Request: &http.Request{URL: &url.URL{Host: "api.test"}},
		})
		if got.Code != c.want || !strings.Contains(got.Message, "api.test") || !got.Foreign() {
			t.Errorf("%d %.20q: %+v", c.status, c.body, got)
		}
	}
}

func TestFrom(t *testing.T) {
	f := New(NoLeader)
	if From(fmt.Errorf("write: %w", f)) != f {
		t.Error("the fault inside an error was not found")
	}
	cause := errors.New("disk")
	if got := From(cause); got.Code != Internal || !errors.Is(got, cause) || strings.Contains(got.Sentence(), "disk") {
		t.Errorf("%+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(401, `{"error":{"code":"invalid_key","retry_after":1}}`)
	f.Add(503, `{"error":{"code":5}}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		got := Decode(&http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)),
			Request: &http.Request{URL: &url.URL{Host: "api.test"}}})
		if got.Code == "" {
			t.Fatal("a fault without a code")
		}
	})
}
