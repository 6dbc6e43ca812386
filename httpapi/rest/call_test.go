package rest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// serve sends one request through a frame to a route of the test's own. headers
// come in pairs.
func serve(f *rest.Frame, rt rest.Route, body string, headers ...string) *httptest.ResponseRecorder {
	if rt.Method == "" {
		rt.Method = "POST"
	}
	rt.ID, rt.Path, rt.Action = "x", "/v1/x", "x.do"
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	r := httptest.NewRequest(rt.Method, "/v1/x", payload)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.Serve(w, r, &rt, "", true)
	return w
}

func codeOf(w *httptest.ResponseRecorder) string {
	return string(fault.Decode(&http.Response{StatusCode: w.Code, Status: fmt.Sprint(w.Code), Body: io.NopCloser(w.Body), Request: httptest.NewRequest("GET", "/", nil)}).Code)
}

// Each flag of a route × no credential, a key with the scope, one without, an operator.
func TestAccess(t *testing.T) {
	g := apitest.New(t)
	_, with := g.Key("live", "admin")
	_, without := g.Key("live", "read")
	f := g.Frame()
	tokens := []string{"", with, without, apitest.OperatorToken}
	for _, c := range []struct {
		name   string
		access rest.Access
		want   [4]int // by token
	}{
		{"plain", 0, [4]int{401, 200, 403, 200}},
		{"operators", rest.Operators | rest.Global, [4]int{401, 403, 403, 200}},
		{"open", rest.Open, [4]int{200, 200, 200, 200}},
		{"unmetered", rest.Unmetered, [4]int{401, 200, 403, 200}},
	} {
		for i, token := range tokens {
			var headers []string
			if token != "" {
				headers = []string{"Authorization", "Bearer " + token}
			}
			var caller rest.Caller
			w := serve(f, rest.Route{Scope: store.ScopeAdmin, Access: c.access, Serve: func(call *rest.Call) error {
				caller = call.Caller
				return call.Answer(struct{}{})
			}}, "", headers...)
			if w.Code != c.want[i] {
				t.Errorf("%s, token %d: status %d, want %d: %s", c.name, i, w.Code, c.want[i], w.Body)
			}
			if w.Code == 200 && c.access != rest.Open && (caller.Record != nil) != (i == 1) {
				t.Errorf("%s, token %d: the caller is %+v", c.name, i, caller)
			}
		}
	}
}

// An operator's header picks the account, a deleted one only where history counts.
func TestPickAccount(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"n"}`).Want(t, 201).Text("id")
	gone := g.Op("POST", "/v1/accounts", `{"name":"n"}`).Want(t, 201).Text("id")
	g.Op("DELETE", "/v1/accounts/"+gone, "").Want(t, 200)
	f := g.Frame()
	for _, c := range []struct {
		account string
		access  rest.Access
		want    string // the account, or the code of the fault
	}{
		{"", 0, "invalid_request"},
		{"", rest.Global, "default"},
		{"default", 0, "default"},
		{acct, 0, acct},
		{acct, rest.Global, "default"},
		{gone, 0, "not_found"},
		{gone, rest.History, gone},
		{"acct_none", rest.History, "not_found"},
		{"nonsense", rest.History, "not_found"},
		{"acct_a b", 0, "not_found"},
		{"acct_", 0, "not_found"},
		{"acct_none", rest.Global, "default"},
	} {
		got := ""
		w := serve(f, rest.Route{Access: c.access, Serve: func(call *rest.Call) error {
			got = string(call.Account)
			return call.Answer(struct{}{})
		}}, "", "Authorization", "Bearer "+apitest.OperatorToken, rest.AccountHeader, c.account)
		if w.Code != 200 {
			got = codeOf(w)
		}
		if got != c.want {
			t.Errorf("%q with %b: %s, want %s", c.account, c.access, got, c.want)
		}
	}
}

// A GET waits for this node's state, unless it is open or may be answered anytime.
func TestLinearize(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	for _, c := range []struct {
		method string
		access rest.Access
		waits  bool
	}{{"GET", 0, true}, {"GET", rest.Anytime, false}, {"GET", rest.Open, false}, {"POST", 0, false}} {
		g.Backend.Stale = nil
		before := g.Backend.Linearized.Load()
		rt := rest.Route{Method: c.method, Access: c.access, Serve: func(call *rest.Call) error { return call.Answer(1) }}
		serve(f, rt, "", "Authorization", "Bearer "+apitest.OperatorToken)
		if waited := g.Backend.Linearized.Load() > before; waited != c.waits {
			t.Errorf("%s with %b: waited %v", c.method, c.access, waited)
		}
		g.Backend.Stale = &fault.Error{Code: fault.NoLeader, RetryAfter: 1}
		w := serve(f, rt, "", "Authorization", "Bearer "+apitest.OperatorToken)
		if (w.Code == 503) != c.waits {
			t.Errorf("%s with %b, without a leader: %d", c.method, c.access, w.Code)
		}
	}
}

// A body must be of a known type, plain, and within its bound.
func TestBody(t *testing.T) {
	f := apitest.New(t).Frame()
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
	}{
		{"no type", "abc", nil, 200},
		{"its type", "abc", []string{"Content-Type", "text/plain"}, 200},
		{"its type in another case", "abc", []string{"Content-Type", "Text/Plain; charset=utf-8"}, 200},
		{"the second type", "abc", []string{"Content-Type", "application/json"}, 200},
		{"curl's type", "abc", []string{"Content-Type", rest.FormType}, 200},
		{"another type", "abc", []string{"Content-Type", "text/html"}, 415},
		{"no type at all", "abc", []string{"Content-Type", ";"}, 415},
		{"identity", "abc", []string{"Content-Encoding", "identity"}, 200},
		{"gzip", "abc", []string{"Content-Encoding", "gzip"}, 415},
		{"empty", "", nil, 200},
		{"at the bound", strings.Repeat("x", 10), nil, 200},
		{"above the bound", strings.Repeat("x", 11), nil, 413},
	} {
		for _, chunked := range []bool{false, true} {
			got := ""
			rt := rest.Route{Access: rest.Open, Serve: func(call *rest.Call) error {
				if chunked {
					call.Request.ContentLength = -1
				}
				raw, err := call.Body(10, "text/plain", "application/json")
				if err != nil {
					return err
				}
				got = string(raw)
				return call.Answer(len(raw))
			}}
			w := serve(f, rt, c.body, c.headers...)
			if w.Code != c.status || w.Code == 200 && got != c.body {
				t.Errorf("%s, chunked %v: %d, read %q, want %d: %s", c.name, chunked, w.Code, got, c.status, w.Body)
			}
		}
	}
}

// The wrappers decode, call, and encode once with status and tag.
func TestHandlers(t *testing.T) {
	f := apitest.New(t).Frame()
	type in struct {
		N int `json:"n"`
	}
	echo := func(c *rest.Call, i *in) (*in, error) {
		if i.N < 0 {
			return nil, rest.Invalid("n", "is negative")
		}
		c.ETag, c.Status = uint64(i.N), http.StatusAccepted
		return i, nil
	}
	for _, c := range []struct {
		name   string
		serve  rest.Handler
		body   string
		status int
		answer string
	}{
		{"body", rest.WithBody(echo), `{"n":5}`, 202, `{"n":5}` + "\n"},
		{"no body", rest.WithBody(echo), ``, 400, ""},
		{"unknown member", rest.WithBody(echo), `{"m":5}`, 422, ""},
		{"refused", rest.WithBody(echo), `{"n":-1}`, 422, ""},
		{"optional body", rest.WithOptionalBody(echo), `{"n":5}`, 202, `{"n":5}` + "\n"},
		{"optional body left out", rest.WithOptionalBody(echo), ``, 202, `{"n":0}` + "\n"},
		{"optional body that is bad", rest.WithOptionalBody(echo), `{`, 400, ""},
		{"without body", rest.WithoutBody(func(*rest.Call) (string, error) { return "<&>", nil }), ``, 200, `"<&>"` + "\n"},
		{"no result", rest.WithoutBody(func(*rest.Call) (any, error) { return nil, fault.New(fault.NotFound) }), ``, 404, ""},
	} {
		w := serve(f, rest.Route{Access: rest.Open, Serve: c.serve}, c.body)
		if w.Code != c.status || c.answer != "" && w.Body.String() != c.answer {
			t.Errorf("%s: %d %s, want %d %s", c.name, w.Code, w.Body, c.status, c.answer)
		}
		tag := w.Header().Get("ETag")
		if want := c.status == 202 && strings.Contains(c.answer, "5"); (tag == `"5"`) != want || !want && tag != "" {
			t.Errorf("%s: ETag %q", c.name, tag)
		}
	}
}

// An error that is no fault is an internal one; its text is logged and not shown.
func TestUnknownErrors(t *testing.T) {
	g := apitest.New(t)
	w := serve(g.Frame(), rest.Route{Access: rest.Open, Serve: func(c *rest.Call) error {
		c.Writer().Header().Set("Content-Disposition", "attachment")
		return errors.New("the disk is gone")
	}}, "")
	if w.Code != 500 || strings.Contains(w.Body.String(), "disk") || w.Header().Get("Content-Disposition") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !strings.Contains(g.Log.String(), "the disk is gone") {
		t.Errorf("the log does not hold the cause: %s", g.Log.String())
	}
}

// Every answer carries the same headers and an id, the client's if it is a token.
func TestHeaders(t *testing.T) {
	f := apitest.New(t).Frame()
	for _, status := range []int{200, 404} {
		w := serve(f, rest.Route{Access: rest.Open, Serve: func(c *rest.Call) error {
			if status == 404 {
				return fault.New(fault.NotFound)
			}
			return c.Answer(c.RequestID())
		}}, "", "X-Request-Id", "id-1")
		for name, want := range map[string]string{
			"X-Request-Id": "id-1", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Content-Type": "application/json",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%d: %s is %q, want %q", status, name, got, want)
			}
		}
		if !strings.Contains(w.Body.String(), "id-1") {
			t.Errorf("%d: the body lacks the id: %s", status, w.Body)
		}
	}
}

// The result of a write decides the status, and no list of nodes is null.
func TestReceipts(t *testing.T) {
	f := apitest.New(t).Frame()
	for _, c := range []struct {
		receipt rest.Receipt
		created bool
		status  int
	}{
		{rest.Receipt{Revocation: rest.Revocation{Effective: true}}, false, 200},
		{rest.Receipt{}, false, 202},
		{rest.Receipt{}, true, 201},
		{rest.Receipt{Result: store.Result{Repeat: true}}, true, 200},
	} {
		w := serve(f, rest.Route{Access: rest.Open, Serve: func(call *rest.Call) error {
			if c.created {
				call.Created(c.receipt)
				return call.Answer(1)
			}
			return call.Answer(call.Revoked(c.receipt))
		}}, "")
		if w.Code != c.status || !c.created && !strings.Contains(w.Body.String(), `"nodes":[]`) {
			t.Errorf("%+v: %d %s, want %d", c.receipt, w.Code, w.Body, c.status)
		}
	}
}

// A stream is flushed by its handler, and is cut where the handler fails half-way.
func TestStream(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	for _, fails := range []bool{false, true} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.Serve(w, r, &rest.Route{ID: "x", Method: "GET", Path: "/x", Access: rest.Open, Serve: func(c *rest.Call) error {
				s := c.Stream()
				s.WriteString(strings.Repeat("x", 200_000))
				if fails {
					return errors.New("broken")
				}
				return s.Flush()
			}}, "", true)
		}))
		resp, err := http.Get(srv.URL)
		apitest.Must(t, err)
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		srv.Close()
		if fails != (err != nil) || !fails && len(raw) != 200_000 {
			t.Errorf("fails %v: %d bytes, %v", fails, len(raw), err)
		}
	}
}
