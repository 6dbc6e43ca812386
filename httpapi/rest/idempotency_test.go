package rest_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

func TestIdempotency(t *testing.T) {
	g := apitest.New(t)
	body := `{"name":"n","type":"live"}`
	first := g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k1").Want(t, 201)
	again := g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k1").Want(t, 200)
	if again.Text("id") != first.Text("id") || again.JSON["secret_withheld"] != true || strings.Contains(again.Body, first.Text("key")) {
		t.Errorf("%s", again.Body)
	}
	if v, there := again.JSON["key"]; !there || v != nil {
		t.Errorf("key is %v", v)
	}
	g.Op("POST", "/v1/keys", `{"name":"n", "type":"live"}`, "Idempotency-Key", "k1").Want(t, 422, fault.IdempotencyMismatch)
	// Another caller, account, path or key is another call.
	_, admin := g.Key("live", "admin")
	if a := g.Do(g.Admin.URL, "POST", "/v1/keys", admin, body, "Idempotency-Key", "k1").Want(t, 201); a.Text("id") == first.Text("id") {
		t.Error("two callers share a result")
	}
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`, "Idempotency-Key", "k1").Want(t, 201)
	g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k1", rest.AccountHeader, acct.Text("id")).Want(t, 201)
	g.Op("POST", "/v1/accounts", `{"name":"other"}`, "Idempotency-Key", "k1").Want(t, 200)
	for _, bad := range []string{strings.Repeat("x", 256), "a b", "ü"} {
		g.Op("POST", "/v1/keys", body, "Idempotency-Key", bad).Want(t, 400, fault.InvalidRequest)
	}
	g.Op("POST", "/v1/keys", body, "Idempotency-Key", strings.Repeat("x", 255)).Want(t, 201)
	// A refusal is not remembered.
	g.Op("POST", "/v1/tiers", `{"name":"pro","live":{},"test":{}}`, "Idempotency-Key", "t").Want(t, 409)
	g.Op("POST", "/v1/tiers", `{"name":"pro2","live":{},"test":{}}`, "Idempotency-Key", "t").Want(t, 201)
	// Rotation: the repeat finds the new key although the old one is rotating by now.
	r1 := g.Op("POST", "/v1/keys/"+first.Text("id")+"/rotate", "", "Idempotency-Key", "r").Want(t, 201)
	r2 := g.Op("POST", "/v1/keys/"+first.Text("id")+"/rotate", "", "Idempotency-Key", "r").Want(t, 200)
	if r1.Text("id") != r2.Text("id") || r2.JSON["key"] != nil {
		t.Errorf("%s", r2.Body)
	}
	g.Now.Add(int64(24*time.Hour + time.Second))
	if a := g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k1").Want(t, 201); a.Text("id") == first.Text("id") {
		t.Error("the result outlives its day")
	}
}

func TestIdempotencyWhileInProgress(t *testing.T) {
	g := apitest.New(t)
	g.Backend.Hold, g.Backend.Held = make(chan struct{}), make(chan struct{}, 1)
	body := `{"name":"n","type":"live"}`
	var wg sync.WaitGroup
	wg.Go(func() { g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k") })
	select {
	case <-g.Backend.Held:
	case <-time.After(time.Minute):
		t.Fatal("the first call was not proposed within a minute")
	}
	a := g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k").Want(t, 409, fault.IdempotencyInProgress)
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(g.Backend.Hold)
	wg.Wait()
	g.Op("POST", "/v1/keys", body, "Idempotency-Key", "k").Want(t, 200)
}
