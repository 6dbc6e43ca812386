package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestHealth(t *testing.T) {
	g := newRig(t)
	for _, base := range []string{g.admin.URL, g.proxy.URL} {
		if a := g.do(base, "GET", "/livez", "", "").want(t, 200); a.body != `{"status":"ok","reason":null}`+"\n" {
			t.Errorf("%s", a.body)
		}
		g.do(base, "GET", "/readyz", "", "").want(t, 200)
	}
	g.backend.ready = errors.New("draining")
	for _, base := range []string{g.admin.URL, g.proxy.URL} {
		g.do(base, "GET", "/livez", "", "").want(t, 200)
		if a := g.do(base, "GET", "/readyz", "", "").want(t, 503); a.body != `{"status":"unavailable","reason":"draining"}`+"\n" {
			t.Errorf("%s", a.body)
		}
	}
	h, err := g.client().Readyz(context.Background())
	if err != nil || h.Status != "unavailable" || *h.Reason != "draining" {
		t.Errorf("%+v %v", h, err)
	}
}

// The description holds for a node that is not assembled yet, too.
func TestStarting(t *testing.T) {
	g := newRig(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Starting(w, r, r.Header.Get("Why")) }))
	defer s.Close()
	g.do(s.URL, "GET", "/livez", "", "").want(t, 200)
	if a := g.do(s.URL, "GET", "/readyz", "", "").want(t, 503); a.text("reason") != "starting" {
		t.Errorf("%s", a.body)
	}
	if a := g.do(s.URL, "GET", "/v1/keys", operatorToken, "").want(t, 503, fault.Unavailable); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestSecurityTxt(t *testing.T) {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	full := SecurityTxt{
		Contact: []string{"mailto:a@b.c", "https://b.c/report"}, Expires: expires, Encryption: []string{"https://b.c/key"}, Acknowledgments: []string{"https://b.c/hall"},
		PreferredLanguages: []string{"en", "de"}, Canonical: []string{"https://b.c/.well-known/security.txt"}, Policy: []string{"https://b.c/policy"}, Hiring: []string{"https://b.c/jobs"},
	}
	want := "Contact: mailto:a@b.c\r\nContact: https://b.c/report\r\nExpires: 2030-01-02T02:04:05Z\r\nEncryption: https://b.c/key\r\nAcknowledgments: https://b.c/hall\r\n" +
		"Preferred-Languages: en, de\r\nCanonical: https://b.c/.well-known/security.txt\r\nPolicy: https://b.c/policy\r\nHiring: https://b.c/jobs\r\n"
	noContact, noExpiry := full, full
	noContact.Contact, noExpiry.Expires = nil, time.Time{}
	for _, c := range []struct {
		name string
		txt  SecurityTxt
		now  time.Time
		want string
	}{
		{"whole", full, expires.Add(-time.Second), want},
		{"the moment it expires", full, expires, ""},
		{"expired", full, expires.Add(time.Hour), ""},
		{"no contact", noContact, expires.Add(-time.Hour), ""},
		{"no expiry", noExpiry, expires.Add(-time.Hour), ""},
	} {
		if got, ok := c.txt.text(c.now); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %v %q", c.name, ok, got)
		}
	}
	g := newRig(t)
	for _, base := range []string{g.admin.URL, g.proxy.URL} {
		a := g.do(base, "GET", "/.well-known/security.txt", "", "").want(t, 200)
		if ct := a.header.Get("Content-Type"); ct != "text/plain; charset=utf-8" {
			t.Errorf("%s", ct)
		}
	}
	g.now.Add(int64(2 * time.Hour))
	g.do(g.proxy.URL, "GET", "/.well-known/security.txt", "", "").want(t, 404, fault.NotFound)
}

func TestMetricsAndDescription(t *testing.T) {
	g := newRig(t)
	id, _ := g.key("live", "read")
	g.op("GET", "/v1/keys/"+id, "").want(t, 200)
	g.op("GET", "/nothing/"+id, "").want(t, 404)
	a := g.op("GET", "/metrics", "").want(t, 200)
	for _, want := range []string{`perfgate_api_requests_total{call="getKey",code="2xx"} 1`, `perfgate_api_requests_total{call="none",code="4xx"} 1`, `perfgate_api_request_duration_seconds_bucket{call="createKey"`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(a.body, id) {
		t.Error("a key's id is a label")
	}
	g.do(g.admin.URL, "GET", "/metrics", "", "").want(t, 401)
	open := newRig(t, func(c *Config) { c.MetricsOpen = true })
	r, err := http.Get(open.admin.URL + "/metrics")
	must(t, err)
	r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("on loopback: %d", r.StatusCode)
	}
	for _, c := range []struct {
		host, token string
		status      int
	}{
		{"localhost:8081", "", 200}, {"LOCALHOST", "", 200}, {"127.0.0.1", "", 200}, {"[::1]:8081", "", 200}, {"[::1]", "", 200},
		{"evil.example:8081", "", 401}, {"localhost.evil.example", "", 401}, {"", "", 401}, {"evil.example", operatorToken, 200},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
		r.Host = c.host
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		if open.api.Admin().ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("on loopback as %q: %d, want %d", c.host, w.Code, c.status)
		}
	}
	if a := g.do(g.admin.URL, "GET", "/openapi.yaml", "", "").want(t, 200); a.body != string(OpenAPI()) {
		t.Error("another description is served")
	}
	if _, err := New(g.api.Config); err == nil {
		t.Error("metrics are registered twice without an error")
	}
}

// What the cluster answers instead of a result reaches the client as it is.
func TestBackendFaults(t *testing.T) {
	g := newRig(t)
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
		g.backend.fail = c.err
		g.op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Idempotency-Key", "k").want(t, c.status, c.code)
	}
	g.backend.fail = nil
	g.op("POST", "/v1/keys", `{"name":"n","type":"test"}`, "Idempotency-Key", "k").want(t, 201)
}

// A panic in a handler is one 500 without a word of what happened; half an
// answer is cut.
func TestPanics(t *testing.T) {
	g := newRig(t)
	for _, late := range []bool{false, true} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.api.serve(w, r, &route{id: "x", method: "GET", path: "/x", access: open, serve: func(c *call) error {
				if late {
					c.w.Write(make([]byte, 100_000))
				}
				panic("secret detail")
			}}, "", true)
		}))
		resp, err := http.Get(srv.URL)
		must(t, err)
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

// A key is in the one answer that made it and nowhere else.
func TestKeysAreNowhere(t *testing.T) {
	g := newRig(t)
	_, admin := g.key("live", "admin")
	id, secret := g.key("live", "read")
	rotated := g.op("POST", "/v1/keys/"+id+"/rotate", "", "Idempotency-Key", "r").want(t, 201).text("key")
	var seen strings.Builder
	note := func(a answer) {
		seen.WriteString(a.body)
		for k, v := range a.header {
			seen.WriteString(k + strings.Join(v, " "))
		}
	}
	imported := "sk-imported-secret-0123456789"
	note(g.op("POST", "/v1/keys/import", `{"name":"i","type":"live","key":"`+imported+`"}`))
	note(g.op("POST", "/v1/keys/import", `{"name":"i","type":"live","key":"`+imported+`","x":1}`))
	note(g.op("POST", "/v1/keys/"+id+"/rotate", "", "Idempotency-Key", "r"))
	note(g.op("POST", "/v1/keys/verify", `{"key":"`+secret+`"}`))
	note(g.op("POST", "/v1/keys/verify", `{"key":["`+secret+`"]}`))
	note(g.op("POST", "/v1/keys/verify", `{"key":"`+secret+`","ip":"`+secret+`"}`))
	note(g.op("POST", "/v1/keys/verify", `{"key":"`+secret))
	note(g.do(g.admin.URL, "GET", "/v1/keys?api_key="+admin, "", ""))
	note(g.do(g.admin.URL, "GET", "/v1/keys", secret+"x", ""))
	note(g.do(g.admin.URL, "GET", "/v1/keys", secret, ""))
	note(g.op("GET", "/v1/keys", ""))
	note(g.op("GET", "/metrics", ""))
	must(t, g.local.Flush())
	note(g.op("GET", "/v1/audit-logs", ""))
	note(g.op("GET", "/v1/audit-logs?format=csv", ""))
	seen.WriteString(g.log.String())
	for _, s := range []string{secret, rotated, imported, admin, operatorToken, secret[8:40]} {
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
	g := newRig(f)
	id, _ := g.key("test", "read")
	var calls []*route
	for _, rt := range g.api.routes.all {
		if rt.method != http.MethodGet && rt.method != http.MethodDelete {
			calls = append(calls, rt)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		g.t = t
		rts := calls
		if which != 0 {
			rts = calls[int(which)%len(calls):][:1]
		}
		for _, rt := range rts {
			path, _ := sample(rt, id)
			for _, ct := range []string{"", "text/plain"} {
				r, err := http.NewRequest(rt.method, g.admin.URL+path, strings.NewReader(string(body)))
				must(t, err)
				r.Header.Set("Authorization", "Bearer "+operatorToken)
				if ct != "" {
					r.Header.Set("Content-Type", ct)
				}
				resp, err := g.RoundTrip(r)
				must(t, err)
				if resp.StatusCode >= 500 {
					t.Fatalf("%s %s: %d", rt.method, path, resp.StatusCode)
				}
				resp.Body.Close()
			}
		}
	})
}

// FuzzDecode: a body is refused with a fault that names something, or it is one
// JSON object that the lenient decoder reads as well.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"n","type":"live","scopes":["read"],"limits":{"burst":1},"max_cost_per_call":0.1}`, `{"entries":[{"cidr":"::/0"}]}`, `{"overlap":null}`,
		`{"ids":["key_1"],"created_before":"2030-01-01T00:00:00Z"}`, `{"state":"disabled","metadata":{"a":"b","a":"c"}}`, `nul`, `{"name":1e400}`, "{}\n{}", `{"limits":[[[[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, in := range []any{new(newKey), new(keyPatch), new(bulk), new(rotation), new(importLine), new(newAllowlist), new(managedPatch), new(newTier), new(tierPatch)} {
			err := decode(body, in)
			if err == nil {
				var loose map[string]any
				if json.Unmarshal(body, &loose) != nil {
					t.Fatalf("%T takes what is no JSON object: %q", in, body)
				}
				continue
			}
			var refused *fault.Error
			if !errors.As(err, &refused) || refused.Code.Status() != 400 && refused.Code.Status() != 422 || len(refused.Message) > 300 || !utf8.ValidString(refused.Message) {
				t.Fatalf("%T: %v", in, err)
			}
		}
		parseAllowText(body)
	})
}

// FuzzMoney: what is read is written back as the same amount.
func FuzzMoney(f *testing.F) {
	for _, s := range []string{"0", "0.1", "1e3", "1E-9", "9000000", "0.000000001", "12.50", "1e-10", "123e+2", "0e99", "-1", "00", "1.000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMoney(s)
		if !ok {
			return
		}
		back, ok := parseMoney(string(m.AppendDecimal(nil)))
		if !ok || back != m {
			t.Fatalf("%q is %d, and %s is %d", s, m, m.AppendDecimal(nil), back)
		}
	})
}

func TestMoney(t *testing.T) {
	for _, c := range []struct {
		in, out string // "" is refused
	}{
		{"0", "0"}, {"0.1", "0.1"}, {"1", "1"}, {"1.50", "1.5"}, {"1e3", "1000"}, {"1E-9", "0.000000001"}, {"1.25e2", "125"}, {"0.000000001", "0.000000001"},
		{"123456.789012345", "123456.789012345"}, {"9000000", "9000000"}, {"9000000.000000001", ""}, {"1e-10", ""}, {"0.0000000001", ""}, {"1.0000000000", "1"},
		{"-1", ""}, {"1e400", ""}, {"1e-400", ""}, {"10e-10", "0.000000001"}, {"99999999999999999999", ""}, {"1e18", ""}, {"0e5", "0"},
	} {
		m, ok := parseMoney(c.in)
		if got := string(m.AppendDecimal(nil)); ok != (c.out != "") || ok && got != c.out {
			t.Errorf("%s: %v %s, want %q", c.in, ok, got, c.out)
		}
	}
}
