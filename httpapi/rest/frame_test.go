package rest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// The cluster's answer in place of a result reaches the client as it is.
func TestBackendFaults(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct {
		err    error
		status int
		code   fault.Code
	}{
		{&fault.Error{Code: fault.NoLeader, RetryAfter: 1}, 503, fault.NoLeader},
		{fault.New(fault.UnknownOutcome), 503, fault.UnknownOutcome},
		{&fault.Error{Code: fault.TooBusy, RetryAfter: 2}, 503, fault.TooBusy},
		{context.DeadlineExceeded, 503, fault.UnknownOutcome},
	} {
		g.Backend.Fail = c.err
		g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Idempotency-Key", "k").Want(t, c.status, c.code)
	}
	g.Backend.Fail = nil
	g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Idempotency-Key", "k").Want(t, 201)
}

// A panic in a handler is one 500 without any detail; half an answer is cut.
func TestPanics(t *testing.T) {
	frame := apitest.New(t).Frame()
	for _, late := range []bool{false, true} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			frame.Serve(w, r, &rest.Route{ID: "x", Method: "GET", Path: "/x", Access: rest.Open, Serve: func(c *rest.Call) error {
				if late {
					c.Writer().Write(make([]byte, 100_000))
				}
				panic("secret detail")
			}}, "", true)
		}))
		resp, err := http.Get(srv.URL)
		apitest.Must(t, err)
		raw, err := io.ReadAll(resp.Body)
		if late && err == nil {
			t.Error("half an answer ends properly")
		}
		if !late && (resp.StatusCode != 500 || err != nil || strings.Contains(string(raw), "secret")) {
			t.Errorf("%d %v %s", resp.StatusCode, err, raw)
		}
		resp.Body.Close()
		srv.Close()
	}
}
