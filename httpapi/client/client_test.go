package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestNew(t *testing.T) {
	for _, tt := range []struct{ base, token, err string }{
		{"127.0.0.1:8081", "x", "server"},
		{"ftp://h", "x", "must be a URL such as http://127.0.0.1:8081"},
		{"http://", "x", "must be a URL"},
		{"http://h\n", "x", "server"},
		{"http://h", "a b", "the token contains blanks"},
		{"http://h", "a\n", "the token contains blanks"},
		{"http://h", "ü", "the token contains"},
	} {
		_, err := client.New(tt.base, tt.token)
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("New(%q, %q): %v", tt.base, tt.token, err)
		} else if tt.token != "x" && strings.Contains(err.Error(), tt.token) {
			t.Errorf("the token is in %v", err)
		}
	}
	for _, base := range []string{"http://h", "https://h:1/prefix/", "http://[::1]:8081"} {
		if _, err := client.New(base, ""); err != nil {
			t.Errorf("New(%q): %v", base, err)
		}
	}
}

// A client without token, account and agent sends none.
func TestNoCredentials(t *testing.T) {
	named, rec := serve(t, answering(200, `{"status":"ok"}`))
	if _, err := named.Livez(t.Context()); err != nil {
		t.Fatal(err)
	}
	host := rec.take()[0].header
	if host.Get("X-Perf-Account") != "" || !strings.HasPrefix(host.Get("User-Agent"), "Go-http-client") {
		t.Errorf("header %v", host)
	}
}

func TestOptions(t *testing.T) {
	c, rec := serve(t, answering(200, anyAnswer))
	_, err := c.UpdateKey(t.Context(), "key_1", client.Patch{}, client.IfMatch(`"5"`), client.IdempotencyKey("k"), client.Force(), client.Header("X-Request-Id", "r"))
	if err != nil {
		t.Fatal(err)
	}
	got := rec.take()[0]
	for name, want := range map[string]string{"If-Match": `"5"`, "Idempotency-Key": "k", "X-Request-Id": "r"} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q", name, got.header.Get(name))
		}
	}
	if got.line != "PATCH /a/prefix/v1/keys/key_1?force=true" {
		t.Error(got.line)
	}
	// Options come last: they may change the content type, and extend the query.
	if err := c.Do(t.Context(), "PUT", "/v1/allowlist", map[string][]string{"a": {"b"}}, strings.NewReader("x"), nil, client.Header("Content-Type", "text/plain"), client.Force()); err != nil {
		t.Fatal(err)
	}
	if got := rec.take()[0]; got.header.Get("Content-Type") != "text/plain" || got.line != "PUT /a/prefix/v1/allowlist?a=b&force=true" {
		t.Errorf("%+v", got)
	}
}

// An id that would lead to another call's path is not sent.
func TestInvalidID(t *testing.T) {
	c, rec := serve(t, answering(200, "{}"))
	for _, id := range []string{"", ".", ".."} {
		for name, err := range map[string]error{
			"GetKey":          second(c.GetKey(t.Context(), id)),
			"RevokeKey":       second(c.RevokeKey(t.Context(), id, "")),
			"Accounts.Delete": second(c.Accounts().Delete(t.Context(), id)),
			"DeleteTier":      second(c.Tiers().Delete(t.Context(), id)),
			"RemoveNode":      second(c.RemoveNode(t.Context(), id)),
		} {
			if err == nil || !strings.Contains(err.Error(), "an id is missing or invalid") {
				t.Errorf("%s(%q): %v", name, id, err)
			}
		}
	}
	if got := rec.take(); len(got) > 0 {
		t.Errorf("sent: %v", got)
	}
}

func second[T any](_ T, err error) error { return err }

// A key in a path or a query is not sent, whatever else is wrong with them, and not
// repeated by the error. In a body it may be.
func TestNoKeyInURL(t *testing.T) {
	const key = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	c, rec := serve(t, answering(200, anyAnswer))
	do := func(path string, query url.Values) error { return c.Do(t.Context(), "GET", path, query, nil, nil) }
	for name, err := range map[string]error{
		"an id":               second(c.GetKey(t.Context(), key)),
		"part of an id":       second(c.RevokeKey(t.Context(), "a"+key+"z", "")),
		"a filter":            second(c.ListKeys(t.Context(), client.KeyFilter{Q: key})),
		"the key of usage":    second(c.Insight().Usage(t.Context(), client.UsageQuery{Key: key})),
		"a name of the query": do("/v1/x", url.Values{key: nil}),
		"the second value":    do("/v1/x", url.Values{"a": {"", "b" + key}}),
		"an encoded path":     do("/v1/x/pk%5Flive"+key[7:], nil),
		"a path of no call":   do("/v1//"+key, nil),
	} {
		if !errors.Is(err, client.ErrKeyInURL) || strings.Contains(err.Error(), key[8:40]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := rec.take(); len(got) > 0 {
		t.Errorf("sent: %v", got)
	}
	if _, err := c.VerifyKey(t.Context(), client.VerifyRequest{Key: key}); err != nil || !strings.Contains(rec.take()[0].body, key) {
		t.Errorf("in a body: %v", err)
	}
	if _, err := c.GetKey(t.Context(), key[:len(key)-1]+"Y"); err != nil || len(rec.take()) != 1 {
		t.Errorf("an id that only looks like a key: %v", err)
	}
}

// Do sends and decodes in each of the forms that it documents.
func TestDo(t *testing.T) {
	c, rec := serve(t, answering(200, `{"id":"key_1","unknown":1}`))
	var key client.Key
	var raw json.RawMessage
	var text strings.Builder
	for _, tt := range []struct {
		body, out any
		sent, typ string
	}{
		{nil, nil, "", ""},
		{strings.NewReader("raw"), &text, "raw", ""},
		{client.Patch{"a": 1}, &key, `{"a":1}`, "application/json"},
		{json.RawMessage(`[1]`), &raw, `[1]`, "application/json"},
	} {
		if err := c.Do(t.Context(), "POST", "/v1/x", nil, tt.body, tt.out); err != nil {
			t.Error(err)
		}
		if got := rec.take()[0]; got.body != tt.sent || got.header.Get("Content-Type") != tt.typ {
			t.Errorf("sent %+v, want %+v", got, tt)
		}
	}
	want := `{"id":"key_1","unknown":1}`
	if key.ID != "key_1" || string(raw) != want || text.String() != want {
		t.Errorf("%+v, %s, %s", key, raw, text.String())
	}
	if err := c.Do(t.Context(), "POST", "/v1/x", nil, func() {}, nil); err == nil || !strings.Contains(err.Error(), "POST /v1/x: encode body") {
		t.Errorf("%v", err)
	}
	if err := c.Do(t.Context(), "BAD METHOD", "/v1/x", nil, nil, nil); err == nil || !strings.Contains(err.Error(), "invalid method") {
		t.Errorf("%v", err)
	}
	if got := rec.take(); len(got) > 0 {
		t.Errorf("sent: %v", got)
	}
}

// Faults of the server keep their code; other answers get the code of their
// status. The body of an error is read up to a bound.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body       string
		code       fault.Code
		message    string
		retryAfter int
	}{
		{409, `{"error":{"code":"conflict","message":"It exists."}}`, fault.Conflict, "It exists.", 0},
		{503, `{"error":{"code":"no_leader","message":"None.","retry_after":2}}`, fault.NoLeader, "None.", 2},
		{400, `{"error":{"code":"of_a_later_version","message":"New."}}`, "of_a_later_version", "New.", 0},
		{502, `<html>nginx`, fault.Internal, "answered 502 Bad Gateway", 0},
		{404, ``, fault.NotFound, "answered 404 Not Found", 0},
		{405, `{}`, fault.MethodNotAllowed, "answered 405", 0},
		{503, `{"error":{}}`, fault.Unavailable, "answered 503", 0},
		{300, `{"id":"key_1"}`, fault.InvalidRequest, "answered 300", 0},
		{500, strings.Repeat(" ", 8<<20) + `{"error":{"code":"conflict"}}`, fault.Internal, "answered 500", 0},
	} {
		c, _ := serve(t, answering(tt.status, tt.body))
		_, err := c.GetKey(t.Context(), "key_1")
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != tt.code || !strings.Contains(f.Sentence(), tt.message) || int(f.RetryAfter) != tt.retryAfter {
			t.Errorf("%d %.40s: %#v", tt.status, tt.body, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	c, err := client.New("http://127.0.0.1:1", "pgop_secret")
	if err != nil {
		t.Fatal(err)
	}
	var f *fault.Error
	if _, err := c.GetAccount(t.Context()); err == nil || errors.As(err, &f) || strings.Contains(err.Error(), "pgop_") || !strings.Contains(err.Error(), "/v1/account") {
		t.Errorf("%v", err)
	}
	if _, err := c.Readyz(t.Context()); err == nil || errors.As(err, &f) {
		t.Errorf("%v", err)
	}
}

// The context ends a call, and a stream too.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{}, 2)
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream") // the client may see it before the end
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		gone <- struct{}{}
	})
	if err := c.Backup(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the request goes on")
	}
	if _, err := c.GetAccount(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A stream that the server cuts is an error, however much was copied, and so is a
// writer that fails.
func TestBrokenStream(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		setType(w, r)
		io.WriteString(w, `{"data":[`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, call := range streamCalls {
		var out strings.Builder
		if err := call.do(t.Context(), c, &out); err == nil || !strings.Contains(err.Error(), "the answer broke off") || out.String() != `{"data":[` {
			t.Errorf("%s: %v after %q", call.name, err, out.String())
		}
	}
	c, _ = serve(t, answering(200, "content"))
	full := errors.New("disk full")
	if err := c.Backup(t.Context(), writer(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// "Not ready" is an answer; anything that is not perfgate's is an error.
func TestReadyz(t *testing.T) {
	for _, tt := range []struct {
		status       int
		body         string
		want, reason string
		err          string
	}{
		{200, `{"status":"ok","reason":null}`, "ok", "", ""},
		{503, `{"status":"unavailable","reason":"draining"}`, "unavailable", "draining", ""},
		{200, `<html>`, "", "", "GET /readyz: 200 OK: this is not a perfgate"},
		{200, `{}`, "", "", "not a perfgate"},
		{404, `{"error":{"code":"not_found"}}`, "", "", "404 Not Found"},
	} {
		c, rec := serve(t, answering(tt.status, tt.body))
		h, err := c.Readyz(t.Context())
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%d %s: %v, %v", tt.status, tt.body, h, err)
			}
			continue
		}
		reason := ""
		if err == nil && h.Reason != nil {
			reason = *h.Reason
		}
		if err != nil || h.Status != tt.want || reason != tt.reason {
			t.Errorf("%d %s: %v, %v", tt.status, tt.body, h, err)
		}
		if got := rec.take()[0]; got.line != "GET /a/prefix/readyz" || got.header.Get("Authorization") != "" {
			t.Errorf("%+v", got)
		}
	}
}

// element is one of any list.
func element(id string) string {
	return `{"id":"` + id + `","name":"n","state":"active","tier":"free","time":"2027-01-01T00:00:00Z","action":"a"}`
}

// pages answers three pages, one of them empty, and then a fault.
func pages(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Query().Get("cursor") {
	case "":
		io.WriteString(w, `{"data":[`+element("a")+`,`+element("b")+`],"next_cursor":"2"}`)
	case "2":
		io.WriteString(w, `{"data":[],"next_cursor":"3"}`)
	case "3":
		io.WriteString(w, `{"data":[`+element("c")+`],"next_cursor":"4"}`)
	default:
		fault.Write(w, r, fault.New(fault.InvalidCursor))
	}
}

// collect returns the ids of a sequence, up to most of them, and its error.
func collect[T any](seq iter.Seq2[*T, error], most int, id func(*T) string) (ids string, err error) {
	for v, err := range seq {
		if err != nil {
			return ids, err
		}
		if ids += id(v); len(ids) == most {
			break
		}
	}
	return ids, nil
}

// The iterators follow cursors, over empty pages too, and end with an error; they
// read no page ahead.
func TestIterators(t *testing.T) {
	for _, tt := range []struct {
		name    string
		collect func(c *client.Client, most int) (string, error)
		query   string
	}{
		{"Keys", func(c *client.Client, most int) (string, error) {
			return collect(c.Keys(t.Context(), client.KeyFilter{Type: "live", Page: client.Page{Limit: 2}}), most, func(k *client.Key) string { return k.ID })
		}, "/v1/keys?limit=2&type=live"},
		{"Accounts.All", func(c *client.Client, most int) (string, error) {
			return collect(c.Accounts().All(t.Context()), most, func(a *client.Account) string { return a.ID })
		}, "/v1/accounts"},
		{"Events", func(c *client.Client, most int) (string, error) {
			return collect(c.Events(t.Context(), client.AuditQuery{User: "u", Format: "csv"}), most, func(e *client.Event) string { return e.ID })
		}, "/v1/audit-logs?format=json&limit=1000&user=u"},
	} {
		c, rec := serve(t, pages)
		ids, err := tt.collect(c, 9)
		var f *fault.Error
		if ids != "abc" || !errors.As(err, &f) || f.Code != fault.InvalidCursor {
			t.Errorf("%s: %q, then %v", tt.name, ids, err)
		}
		got := rec.take()
		if len(got) != 4 || got[0].line != "GET /a/prefix"+tt.query || !strings.Contains(got[3].line, "cursor=4") {
			t.Errorf("%s: requests %v", tt.name, got)
		}
		if ids, err := tt.collect(c, 2); ids != "ab" || err != nil || len(rec.take()) != 1 {
			t.Errorf("%s, first two: %q, %v", tt.name, ids, err)
		}
	}
	c, _ := serve(t, answering(200, `{"data":[`+element("a")+`],"next_cursor":null}`))
	if ids, err := collect(c.Keys(t.Context(), client.KeyFilter{}), 9, func(k *client.Key) string { return k.ID }); ids != "a" || err != nil {
		t.Errorf("the last page: %q, %v", ids, err)
	}
}

// A report has an answer without members.
func TestRevokeLeakedKey(t *testing.T) {
	c, rec := serve(t, answering(202, "{}"))
	if err := c.RevokeLeakedKey(t.Context(), "pk_live_x"); err != nil {
		t.Fatal(err)
	}
	if got := rec.take(); len(got) != 1 || !strings.HasPrefix(got[0].line, "POST ") || !strings.HasSuffix(got[0].line, "/v1/keys/revoke-leaked") || got[0].body != `{"key":"pk_live_x"}` {
		t.Errorf("sends %+v", got)
	}
	c, _ = serve(t, answering(503, "<html>"))
	if err := c.RevokeLeakedKey(t.Context(), "pk_live_x"); err == nil {
		t.Error("a failure is taken for success")
	}
}
