package rest_test

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
)

// pasted are the calls with a live key in every place: KEY is the key, and ID the id
// of one that exists.
var pasted = []struct {
	method, path, body string
	headers            []string
}{
	{"GET", "/v1/keys/KEY", "", nil},
	{"PATCH", "/v1/keys/KEY", `{"name":"n"}`, nil},
	{"POST", "/v1/keys/KEY/rotate", "", nil},
	{"POST", "/v1/keys/KEY/revoke", `{"reason":"x"}`, nil},
	{"POST", "/v1/keys/key_KEY/revoke", "", nil},
	{"POST", "/v1/keys/revoke", `{"ids":["KEY"]}`, nil},
	{"POST", "/v1/keys/revoke", `{"created_by":"KEY"}`, nil},
	{"POST", "/v1/keys/revoke", `{"environment":"KEY","reason":"KEY"}`, nil},
	{"POST", "/v1/keys", `{"name":"a KEY b","type":"test","environment":"KEY","metadata":{"KEY":"KEY","a":"x KEY"}}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test","scopes":["KEY"]}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test","routes":["/KEY"]}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test","allowlist":["KEY"]}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"KEY"}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test","KEY":1}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test","` + strings.Repeat("x", 70) + `KEY":1}`, nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test","` + strings.Repeat("x", 160) + `KEY":1}`, nil}, // param is cut within the key
	{"POST", "/v1/keys", `{"name":"n","type":"test","metadata":{"` + strings.Repeat("x", 80) + `KEY":1}}`, nil},
	{"POST", "/v1/keys", `{"name":"n","name":"KEY"}`, nil},
	{"POST", "/v1/keys/import", `{"name":"KEY","type":"live","key":"KEY","KEY":1}`, nil},
	{"POST", "/v1/keys/import", `{"name":"KEY","type":"live","key":"0123456789abcdef-foreign"}`, nil},
	{"POST", "/v1/keys/verify", `{"key":"KEY","method":"KEY","path":"/KEY"}`, nil},
	{"POST", "/v1/ratelimit", `{"identifier":"KEY","namespace":"KEY","limit":5,"window":"60s"}`, nil},
	{"PATCH", "/v1/keys/ID", `{"name":"KEY","metadata":{"note":"KEY"}}`, nil},
	{"PUT", "/v1/allowlist", `{"entries":[{"cidr":"KEY","note":"n"}]}`, nil},
	{"PUT", "/v1/allowlist", `{"entries":[{"cidr":"10.0.0.0/8","note":"KEY"}]}`, nil},
	{"PATCH", "/v1/account", `{"name":"KEY"}`, nil},
	{"POST", "/v1/accounts", `{"name":"KEY","region":"KEY"}`, nil},
	{"POST", "/v1/accounts", `{"name":"n","tier":"KEY"}`, nil},
	{"GET", "/v1/accounts/KEY", "", nil},
	{"DELETE", "/v1/accounts/KEY", "", nil},
	{"PATCH", "/v1/accounts/KEY", `{"name":"n"}`, nil},
	{"POST", "/v1/tiers", `{"name":"KEY","live":{"requests_per_minute":1}}`, nil},
	{"DELETE", "/v1/tiers/KEY", "", nil},
	{"GET", "/v1/tiers/KEY", "", nil},
	{"POST", "/v1/cluster/transfer-leadership", `{"to":"KEY"}`, nil},
	{"DELETE", "/v1/cluster/nodes/KEY", "", nil},
	{"GET", "/v1/audit-logs?key=KEY&user=KEY&action=KEY", "", nil},
	{"GET", "/v1/keys?KEY=1", "", nil},
	{"GET", "/v1/keys?name=KEY&type=KEY", "", nil},
	{"GET", "/v1/usage?key=KEY", "", nil},
	{"GET", "/v1/nosuch/KEY", "", nil},
	{"POST", "/v1/keys", `{"name":"n","type":"test"}`, []string{"X-Request-Id", "KEY", "User-Agent", "curl KEY", "Idempotency-Key", "KEY"}},
	{"POST", "/v1/keys", `{"name":"n","type":"test"}`, []string{"User-Agent", "curl ENCODED"}},
	{"POST", "/v1/keys/verify", `{"key":"KEY","method":"ENCODED","path":"/"}`, nil},
	{"POST", "/v1/keys", `{}`, []string{"X-Request-Id", "a.KEY.b", "User-Agent", strings.Repeat("x", 230) + "KEY"}},
	{"GET", "/v1/keys", "", []string{"X-Perf-Account", "KEY"}},
	{"GET", "/v1/keys", "", []string{"X-Perf-Account", strings.Repeat("x", 20) + "KEY"}},
}

// A live key that is pasted into any place of a management call is in no command, no
// stored state, no event, no log line and no answer, and it still works.
func TestPastedKeyIsNowhere(t *testing.T) {
	g := apitest.New(t)
	id, secret := g.Key("live", "read")
	encoded := func(s string) string { return "%" + strings.ReplaceAll(fmt.Sprintf("% x", s), " ", "%") }
	paste := func(format string) string {
		return strings.NewReplacer("KEY", secret, "ENCODED", encoded(secret), "ID", id).Replace(format)
	}
	beginning := secret[:20] // 12 of the 32 random characters are 8 more than a hint shows
	var calls = slices.Clone(pasted)
	for _, c := range pasted { // each of them with the key percent-encoded in the body, too
		if strings.Contains(c.body, "KEY") {
			c.body = strings.ReplaceAll(c.body, "KEY", "ENCODED")
			calls = append(calls, c)
		}
	}
	for _, c := range calls {
		headers := make([]string, len(c.headers))
		for i, h := range c.headers {
			headers[i] = paste(h)
		}
		a := g.Op(c.method, paste(c.path), paste(c.body), headers...)
		if a.Status >= 500 {
			t.Errorf("%s %s answers %d: %s", c.method, c.path, a.Status, a.Body)
		}
		if strings.Contains(a.Body, beginning) || strings.Contains(a.Body, encoded(beginning)) || strings.Contains(fmt.Sprint(a.Header), beginning) {
			t.Errorf("%s %s %s shows the key: %s %v", c.method, c.path, c.body, a.Body, a.Header)
		}
	}
	g.Do(g.Admin.URL, "POST", "/v1/keys/verify", apitest.OperatorToken, `{"key":"`+secret+`"}`).Want(t, 200)
	if v := g.Op("POST", "/v1/keys/verify", `{"key":"`+secret+`"}`); v.JSON["valid"] != true {
		t.Fatalf("the key does not work any more: %s", v.Body)
	}
	apitest.Must(t, g.Local.Flush())
	for name, text := range map[string]string{
		"the log":            g.Log.String(),
		"the commands":       g.Backend.Commands(),
		"the keys":           g.Op("GET", "/v1/keys", "").Body,
		"the accounts":       g.Op("GET", "/v1/accounts", "").Body,
		"the allowlist":      g.Op("GET", "/v1/allowlist", "").Body,
		"the events of all":  g.Op("GET", "/v1/audit-logs", "").Body,
		"the events in CSV":  g.Op("GET", "/v1/audit-logs?format=csv", "").Body,
		"the usage of calls": g.Op("GET", "/v1/usage?group_by=key", "").Body,
	} {
		if strings.Contains(text, beginning) || strings.Contains(text, hex.EncodeToString([]byte(beginning))) || strings.Contains(text, url.QueryEscape(beginning)) || strings.Contains(text, encoded(beginning)) {
			i := strings.Index(text, beginning)
			t.Errorf("%s hold the key: …%s…", name, text[max(0, i-200):min(len(text), i+60)])
		}
	}
	if got := g.Op("GET", "/v1/keys/"+id, "").Text("name"); got != apikey.Hint(secret) {
		t.Errorf("the name is %q, want the hint %q", got, apikey.Hint(secret))
	}
}
