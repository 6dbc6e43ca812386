package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// A key is in the one answer that made it and nowhere else.
func TestKeysAreNowhere(t *testing.T) {
	g := apitest.New(t)
	_, admin := g.Key("live", "admin")
	id, secret := g.Key("live", "read")
	rotated := g.Op("POST", "/v1/keys/"+id+"/rotate", "", "Idempotency-Key", "r").Want(t, 201).Text("key")
	var seen strings.Builder
	note := func(a apitest.Answer) {
		seen.WriteString(a.Body)
		for k, v := range a.Header {
			seen.WriteString(k + strings.Join(v, " "))
		}
	}
	imported := "sk-imported-secret-0123456789"
	note(g.Op("POST", "/v1/keys/import", `{"name":"i","type":"live","key":"`+imported+`"}`))
	note(g.Op("POST", "/v1/keys/import", `{"name":"i","type":"live","key":"`+imported+`","x":1}`))
	note(g.Op("POST", "/v1/keys/"+id+"/rotate", "", "Idempotency-Key", "r"))
	note(g.Op("POST", "/v1/keys/verify", `{"key":"`+secret+`"}`))
	note(g.Op("POST", "/v1/keys/verify", `{"key":["`+secret+`"]}`))
	note(g.Op("POST", "/v1/keys/verify", `{"key":"`+secret+`","ip":"`+secret+`"}`))
	note(g.Op("POST", "/v1/keys/verify", `{"key":"`+secret))
	note(g.Do(g.Admin.URL, "GET", "/v1/keys?api_key="+admin, "", ""))
	note(g.Do(g.Admin.URL, "GET", "/v1/keys", secret+"x", ""))
	note(g.Do(g.Admin.URL, "GET", "/v1/keys", secret, ""))
	note(g.Op("GET", "/v1/keys", ""))
	note(g.Op("GET", "/metrics", ""))
	apitest.Must(t, g.Local.Flush())
	note(g.Op("GET", "/v1/audit-logs", ""))
	note(g.Op("GET", "/v1/audit-logs?format=csv", ""))
	seen.WriteString(g.Log.String())
	for _, s := range []string{secret, rotated, imported, admin, apitest.OperatorToken, secret[8:40]} {
		if strings.Contains(seen.String(), s) {
			t.Errorf("%s… is shown", s[:12])
		}
	}
}

// FuzzBodies throws bodies at every call that takes one: never a 5xx, and every
// answer fits the description.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"name":"n","type":"live","scopes":["read"],"limits":{"burst":1},"max_cost_per_call":0.1}`, `{"entries":[{"cidr":"::/0"}]}`, `{"overlap":"1h"}`,
		`{"ids":["key_1"],"dry_run":true}`, `{"key":"x","ip":"1.2.3.4","path":"/"}`, `{"identifier":"x","limit":1,"window":"1s","burst":2}`, `{"live":{},"test":{},"name":"x"}`,
		`{"state":"disabled","expires_at":"2030-01-01T00:00:00Z","metadata":{"a":"b"}}`, "1.2.3.4 # x\n", `{"retention_days":7,"alert_thresholds":[1]}`, `nul`, `{"name":1e400}`} {
		f.Add([]byte(s), uint8(0))
	}
	g := apitest.New(f)
	id, _ := g.Key("test", "read")
	var calls []*rest.Route
	for _, rt := range g.API.Routes() {
		if rt.Method != http.MethodGet && rt.Method != http.MethodDelete {
			calls = append(calls, rt)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		g.T = t
		rts := calls
		if which != 0 {
			rts = calls[int(which)%len(calls):][:1]
		}
		for _, rt := range rts {
			path, _ := sample(rt, id)
			for _, ct := range []string{"", "text/plain"} {
				r, err := http.NewRequest(rt.Method, g.Admin.URL+path, strings.NewReader(string(body)))
				apitest.Must(t, err)
				r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
				if ct != "" {
					r.Header.Set("Content-Type", ct)
				}
				resp, err := g.RoundTrip(r)
				apitest.Must(t, err)
				if resp.StatusCode >= 500 {
					t.Fatalf("%s %s: %d", rt.Method, path, resp.StatusCode)
				}
				resp.Body.Close()
			}
		}
	})
}
