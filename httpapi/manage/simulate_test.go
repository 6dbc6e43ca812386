package manage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// A proposed limit runs over the recorded minutes: refused requests count as demand, other
// accounts and keys that it is not for do not.
func TestSimulateLimits(t *testing.T) {
	g := apitest.New(t)
	now := time.Now().UTC()
	begin := now.Truncate(24 * time.Hour).Add(-12 * time.Hour) // all in one UTC day, minutes of which are kept
	see := func(minute int, key store.KeyID, route string, status, n int) {
		o := local.Observation{At: begin.Add(time.Duration(minute) * time.Minute), Account: store.DefaultAccount, Key: key, Type: store.Live, Route: route, Status: status, Method: "GET"}
		if status == 429 {
			o.Code = "requests_per_minute"
		} else {
			o.Units = 1
		}
		for range n {
			g.Local.Observe(&o)
		}
	}
	see(0, "key_a", "/v1/chat", 200, 40)
	see(0, "key_b", "/v1/files/", 200, 20)
	see(2, "key_a", "/v1/chat", 200, 30)
	see(2, "key_a", "/v1/chat", 429, 10)
	for body, want := range map[string]string{
		`{"requests_per_minute":60}`:                                                                       `"requests":100,"would_refuse":{"even":0,"at_once":0},"lowest_limit":{"even":30,"certain":60},"first_refusals":[],`,
		`{"requests_per_minute":20,"burst":20}`:                                                            `"requests":100,"would_refuse":{"even":20,`,
		`{"requests_per_minute":60,"key":"key_b"}`:                                                         `"requests":20,`,
		`{"requests_per_minute":60,"type":"test"}`:                                                         `"requests":0,`,
		`{"rule":{"name":"r","per":"key","requests":50,"window":"1d"}}`:                                    `"resolution":"1h","limit":50,"window":"1d","requests":100,"would_refuse":{"even":30,"at_once":30},"lowest_limit":{"even":80,"certain":80},`,
		`{"rule":{"name":"r","per":"key","requests":50,"window":"1m","match":{"route":"/v1/files/"}}}`:     `"requests":20,`,
		fmt.Sprintf(`{"requests_per_minute":60,"from":%q}`, begin.Add(time.Minute).Format(time.RFC3339)):   `"requests":40,`,
		fmt.Sprintf(`{"requests_per_minute":60,"from":%q}`, now.Add(-7*24*time.Hour).Format(time.RFC3339)): `Minutes are kept for 48 hours`,
	} {
		if a := g.Op("POST", "/v1/limits/simulate", body).Want(t, 200); !strings.Contains(a.Body, want) {
			t.Errorf("%s: %s\nwant %s", body, a.Body, want)
		}
	}
	for _, body := range []string{
		`{}`, `{"requests_per_minute":0}`, `{"requests_per_minute":5,"rule":{"name":"r","per":"key","requests":50,"window":"1d"}}`,
		`{"rule":{"name":"r"}}`, `{"requests_per_minute":5,"type":"prod"}`, `{"requests_per_minute":5,"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`,
	} {
		g.Op("POST", "/v1/limits/simulate", body).Want(t, 422)
	}
}
