package manage_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
)

func TestHealth(t *testing.T) {
	g := apitest.New(t)
	for _, base := range []string{g.Admin.URL, g.Proxy.URL} {
		if a := g.Do(base, "GET", "/livez", "", "").Want(t, 200); a.Body != `{"status":"ok","reason":null}`+"\n" {
			t.Errorf("%s", a.Body)
		}
		g.Do(base, "GET", "/readyz", "", "").Want(t, 200)
	}
	g.Backend.Unready = errors.New("draining")
	for _, base := range []string{g.Admin.URL, g.Proxy.URL} {
		g.Do(base, "GET", "/livez", "", "").Want(t, 200)
		if a := g.Do(base, "GET", "/readyz", "", "").Want(t, 503); a.Body != `{"status":"unavailable","reason":"draining"}`+"\n" {
			t.Errorf("%s", a.Body)
		}
	}
	h, err := g.Client().Readyz(context.Background())
	if err != nil || h.Status != "unavailable" || *h.Reason != "draining" {
		t.Errorf("%+v %v", h, err)
	}
}

// The description holds for a node that is not assembled yet, too.
func TestStarting(t *testing.T) {
	g := apitest.New(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { manage.Starting(w, r, r.Header.Get("Why")) }))
	defer s.Close()
	g.Do(s.URL, "GET", "/livez", "", "").Want(t, 200)
	if a := g.Do(s.URL, "GET", "/readyz", "", "").Want(t, 503); a.Text("reason") != "starting" {
		t.Errorf("%s", a.Body)
	}
	if a := g.Do(s.URL, "GET", "/v1/keys", apitest.OperatorToken, "").Want(t, 503, fault.Unavailable); a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	key := apikey.New(apikey.LivePrefix)
	for _, path := range []string{"/readyz", "/v1/keys"} {
		if a := g.Do(s.URL, "GET", path, "", "", "Why", "waits for "+key).Want(t, 503); strings.Contains(a.Body, key) || !strings.Contains(a.Body, "waits for pk_live_") {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
}

func TestMetricsAndDescription(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	g.Op("GET", "/v1/keys/"+id, "").Want(t, 200)
	g.Op("GET", "/nothing/"+id, "").Want(t, 404)
	a := g.Op("GET", "/metrics", "").Want(t, 200)
	for _, want := range []string{`perfgate_api_requests_total{call="getKey",code="2xx"} 1`, `perfgate_api_requests_total{call="none",code="4xx"} 1`, `perfgate_api_request_duration_seconds_bucket{call="createKey"`} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(a.Body, id) {
		t.Error("a key's id is a label")
	}
	g.Do(g.Admin.URL, "GET", "/metrics", "", "").Want(t, 401)
	open := apitest.New(t, func(c *httpapi.Config) { c.MetricsOpen = true })
	r, err := http.Get(open.Admin.URL + "/metrics")
	apitest.Must(t, err)
	r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("on loopback: %d", r.StatusCode)
	}
	for _, c := range []struct {
		host, token string
		status      int
	}{
		{"localhost:8081", "", 200}, {"LOCALHOST", "", 200}, {"127.0.0.1", "", 200}, {"[::1]:8081", "", 200}, {"[::1]", "", 200},
		{"evil.example:8081", "", 401}, {"localhost.evil.example", "", 401}, {"", "", 401}, {"evil.example", apitest.OperatorToken, 200},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
		r.Host = c.host
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		if open.API.Admin().ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("on loopback as %q: %d, want %d", c.host, w.Code, c.status)
		}
	}
	description, err := os.ReadFile("../openapi.yaml")
	apitest.Must(t, err)
	if a := g.Do(g.Admin.URL, "GET", "/openapi.yaml", "", "").Want(t, 200); a.Body != string(description) {
		t.Error("another description is served")
	}
	if _, err := httpapi.New(g.Config); err == nil {
		t.Error("metrics are registered twice without an error")
	}
}

func TestSecurityTxtPage(t *testing.T) {
	g := apitest.New(t)
	for _, base := range []string{g.Admin.URL, g.Proxy.URL} {
		a := g.Do(base, "GET", "/.well-known/security.txt", "", "").Want(t, 200)
		if ct := a.Header.Get("Content-Type"); ct != "text/plain; charset=utf-8" {
			t.Errorf("%s", ct)
		}
	}
	g.Now.Add(int64(2 * time.Hour))
	g.Do(g.Proxy.URL, "GET", "/.well-known/security.txt", "", "").Want(t, 404, fault.NotFound)
}
