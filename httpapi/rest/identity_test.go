package rest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/limiter"
)

func TestManagementBucket(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	_, other := g.Key("live", "admin")
	for i := range rest.PerMinute {
		a := g.Do(g.Admin.URL, "GET", "/v1/keys?limit=1", secret, "").Want(t, 200)
		if got := a.Header["X-Ratelimit-Remaining"]; i == 0 && !slices.Equal(got, []string{"299"}) {
			t.Errorf("remaining %v", got)
		}
	}
	a := g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 429, fault.RequestsPerMinute)
	if !strings.Contains(a.Body, `"policy":"key-minute"`) {
		t.Errorf("the refusal does not name the policy: %s", a.Body)
	}
	if a.Header.Get("Retry-After") != "1" || !strings.HasPrefix(a.Message(), "You have exceeded your rate limit") {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	g.Do(g.Proxy.URL, "GET", "/v1/keys", secret, "").Want(t, 429)
	g.Do(g.Admin.URL, "GET", "/v1/keys", other, "").Want(t, 200)
	g.Now.Add(int64(time.Second))
	g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 200)
}

func TestCredentials(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	get := func(path string, headers ...string) apitest.Answer {
		return g.Do(g.Admin.URL, "GET", path, "", "", headers...)
	}
	get("/v1/keys", "Authorization", "bearer "+secret).Want(t, 200)
	get("/v1/keys", "Authorization", "BEARER "+apitest.OperatorToken).Want(t, 200)
	get("/v1/keys", "Authorization", "Basic "+apitest.OperatorToken).Want(t, 401)
	get("/v1/keys?api_key="+secret, "Authorization", "Bearer "+secret).Want(t, 400)
	a := g.Op("GET", "/v1/keys", "")
	g.Op("GET", "/v1/keys", "", rest.AccountHeader, "default").Want(t, 200)
	if a.Header["X-Ratelimit-Limit"] != nil {
		t.Error("an operator has limits")
	}
	r, _ := http.NewRequest("GET", g.Admin.URL+"/v1/keys", nil)
	r.Header["Authorization"] = []string{"Bearer " + apitest.OperatorToken, "Bearer " + secret}
	resp, err := g.RoundTrip(r)
	apitest.Must(t, err)
	if resp.StatusCode != 400 {
		t.Errorf("two credentials: %d", resp.StatusCode)
	}
}

// An operator token is a credential like a key: another one beside it is refused, and so
// is a key in the query.
func TestOperatorTokenStandsAlone(t *testing.T) {
	g := apitest.New(t, func(c *httpapi.Config) {
		c.Gate = admit.NewGate(admit.Config{Store: c.Store, Clock: c.Clock, Buckets: limiter.NewBuckets(1000), KeyHeader: "X-Api-Key"})
	})
	_, secret := g.Key("live", "admin")
	g.Do(g.Admin.URL, "GET", "/v1/keys", "", "", "X-Api-Key", secret).Want(t, 200)
	g.Op("GET", "/v1/keys", "", "X-Api-Key", secret).Want(t, 400, fault.AmbiguousCredentials)
	g.Op("GET", "/v1/keys", "", "X-Api-Key", apitest.OperatorToken).Want(t, 400, fault.AmbiguousCredentials)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"live"}`, "X-Api-Key", "anything").Want(t, 400, fault.AmbiguousCredentials)
	g.Op("GET", "/v1/keys?q="+secret, "").Want(t, 400, fault.KeyInQuery)
	g.Op("GET", "/v1/cluster?x=%70"+secret[1:], "").Want(t, 400, fault.KeyInQuery)
	g.Op("GET", "/v1/keys?q="+secret[:20], "").Want(t, 200)
}

// vouchers counts the calls of Vouch.
type vouchers struct{ n int }

func (v *vouchers) Vouch() { v.n++ }

// A listener keeps the connections of operators and of keys when it closes others.
func TestVouch(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "read")
	for token, want := range map[string]int{"": 0, "pgop_wrong": 0, apitest.OperatorToken: 1, secret: 1} {
		v := new(vouchers)
		r := httptest.NewRequest("GET", "/v1/account", nil)
		r.RemoteAddr = "127.0.0.1:1"
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		g.API.Admin().ServeHTTP(httptest.NewRecorder(), r.WithContext(admit.WithVoucher(r.Context(), v)))
		if v.n != want {
			t.Errorf("the connection of a call with %.8q was vouched for %d times, want %d", token, v.n, want)
		}
	}
}
