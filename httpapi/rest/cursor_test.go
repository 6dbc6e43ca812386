package rest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// A cursor resumes the list that made it: of one account, one call and one set of
// filters, with any limit.
func TestCursorIsBound(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"n"}`).Want(t, 201).Text("id")
	f := g.Frame()
	list := func(id, query, account string) (cursor, after string, status int) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/v1/x"+query, nil)
		r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
		r.Header.Set(rest.AccountHeader, account)
		f.Serve(w, r, &rest.Route{ID: id, Method: "GET", Path: "/v1/x", Query: []string{"limit", "cursor", "type"}, Serve: func(c *rest.Call) error {
			q := c.Query()
			q.Limit()
			var err error
			if after, err = q.Cursor(); err != nil {
				return err
			}
			cursor = *q.Seal("pos 1 of \x00 any bytes")
			return c.Answer(1)
		}}, "", true)
		return cursor, after, w.Code
	}
	cursor, after, status := list("a", "?type=x", "default")
	if after != "" || status != 200 {
		t.Fatalf("without a cursor: %q, %d", after, status)
	}
	for _, c := range []struct {
		id, query, account string
		status             int
	}{
		{"a", "?type=x&cursor=" + cursor, "default", 200},
		{"a", "?limit=5&cursor=" + cursor + "&type=x", "default", 200},
		{"b", "?type=x&cursor=" + cursor, "default", 400},
		{"a", "?type=y&cursor=" + cursor, "default", 400},
		{"a", "?cursor=" + cursor, "default", 400},
		{"a", "?type=x&cursor=" + cursor, acct, 400},
		{"a", "?type=x&cursor=" + cursor + "A", "default", 400},
		{"a", "?type=x&cursor=" + strings.ToLower(cursor), "default", 400},
		{"a", "?type=x&cursor=%00", "default", 400},
	} {
		_, after, status := list(c.id, c.query, c.account)
		if status != c.status || status == 200 && after != "pos 1 of \x00 any bytes" {
			t.Errorf("%s %s %s: %d, resumes after %q, want %d", c.id, c.query, c.account, status, after, c.status)
		}
	}
}

// Every answer is counted by its call and class; requests of no route as none.
func TestCounts(t *testing.T) {
	g := apitest.New(t)
	g.Op("GET", "/v1/keys", "").Want(t, 200)
	g.Op("GET", "/v1/keys?limit=0", "").Want(t, 422)
	g.Op("GET", "/nothing", "").Want(t, 404)
	g.Op("DELETE", "/v1/keys", "").Want(t, 405)
	body := g.Op("GET", "/metrics", "").Want(t, 200).Body
	for _, line := range []string{
		`perfgate_api_requests_total{call="listKeys",code="2xx"} 1`,
		`perfgate_api_requests_total{call="listKeys",code="4xx"} 1`,
		`perfgate_api_requests_total{call="none",code="4xx"} 2`,
		`perfgate_api_request_duration_seconds_count{call="listKeys"} 2`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if strings.Contains(body, `duration_seconds_count{call="none"}`) {
		t.Error("the time of requests of no route is counted")
	}
}
