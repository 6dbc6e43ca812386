package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL+"/behind/a/prefix", "pgop_secret")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct{ base, token string }{
		{"127.0.0.1:8081", "x"}, {"ftp://h", "x"}, {"http://", "x"}, {"http://h\n", "x"}, {"http://h", "a b"}, {"http://h", "a\n"}, {"http://h", "ü"},
	} {
		if _, err := client.New(c.base, c.token); err == nil {
			t.Errorf("New(%q, %q) succeeds", c.base, c.token)
		} else if c.token != "x" && strings.Contains(err.Error(), c.token) {
			t.Errorf("the token is in %v", err)
		}
	}
}

// What is sent: the path behind the base's own, credentials, account, options.
func TestRequest(t *testing.T) {
	var got *http.Request
	var body string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body = r, string(raw)
		io.WriteString(w, "{}")
	})
	c.Account, c.Agent = "acct_1", "perfgate/test"
	_, err := c.UpdateKey(context.Background(), "key/1", client.Patch{"expires_at": nil}, client.IfMatch(`"5"`), client.IdempotencyKey("k"), client.Force())
	if err != nil {
		t.Fatal(err)
	}
	h := got.Header
	if got.Method != "PATCH" || got.URL.EscapedPath() != "/behind/a/prefix/v1/keys/key%2F1" || got.URL.RawQuery != "force=true" || body != `{"expires_at":null}` ||
		h.Get("Authorization") != "Bearer pgop_secret" || h.Get("X-Perf-Account") != "acct_1" || h.Get("If-Match") != `"5"` ||
		h.Get("Idempotency-Key") != "k" || h.Get("User-Agent") != "perfgate/test" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v %s", got.Method, got.URL, h, body)
	}
}

// An id that would make another call's path is not sent.
func TestNoID(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) })
	ctx := context.Background()
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.RevokeKey(ctx, id, ""); err == nil {
			t.Errorf("RevokeKey(%q) succeeds", id)
		}
		if _, err := c.DeleteManagedAccount(ctx, id); err == nil {
			t.Errorf("DeleteManagedAccount(%q) succeeds", id)
		}
	}
}

func TestFaults(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fault.Write(w, r, &fault.Error{Code: fault.TooBusy, RetryAfter: 7})
	})
	_, err := c.GetKey(context.Background(), "key_1")
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.TooBusy || f.RetryAfter != 7 {
		t.Errorf("%v", err)
	}
	c = serve(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	if _, err := c.GetKey(context.Background(), "key_1"); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("%v", err)
	}
	c = serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") })
	if _, err := c.GetKey(context.Background(), "key_1"); err == nil {
		t.Error("a page that is no answer is taken for one")
	}
}

// A stream that the server cut is an error, whatever has been written.
func TestBrokenStream(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"data":[`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	var out strings.Builder
	if err := c.AuditLogs(context.Background(), client.AuditQuery{}, &out); err == nil || out.Len() == 0 {
		t.Errorf("%v after %q", err, out.String())
	}
}

func TestWalk(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("cursor") {
		case "":
			io.WriteString(w, `{"data":[{"id":"a"},{"id":"b"}],"next_cursor":"2"}`)
		case "2":
			io.WriteString(w, `{"data":[],"next_cursor":"3"}`)
		case "3":
			io.WriteString(w, `{"data":[{"id":"c"}],"next_cursor":"4"}`)
		default:
			fault.Write(w, r, fault.New(fault.InvalidCursor))
		}
	})
	var got []string
	var failed error
	for k, err := range c.Keys(context.Background(), client.KeyFilter{}) {
		if err != nil {
			failed = err
			break
		}
		got = append(got, k.ID)
	}
	if strings.Join(got, "") != "abc" || failed == nil {
		t.Errorf("%v, then %v", got, failed)
	}
}
