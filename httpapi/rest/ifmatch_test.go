package rest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// Every change of a named resource takes a list of tags, of which any may hold.
func TestIfMatchLists(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct{ name, method, suffix, body string }{
		{"patch", "PATCH", "", `{"name":"m"}`},
		{"rotate", "POST", "/rotate", ""},
		{"revoke", "POST", "/revoke", ""},
		{"revoke the chain", "POST", "/revoke", `{"chain":true}`},
	} {
		id, _ := g.Key("live", "read")
		path := "/v1/keys/" + id
		tag := g.Op("GET", path, "").Want(t, 200).Header.Get("ETag")
		send := func(match string) apitest.Answer {
			t.Helper()
			return g.Op(c.method, path+c.suffix, c.body, "If-Match", match)
		}
		send(`"98", "99"`).Want(t, 412, fault.PreconditionFailed)
		send(`W/`+tag+`, "99"`).Want(t, 412, fault.PreconditionFailed)
		if a := send(`"98", ` + tag + `, "99"`); a.Status >= 300 {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		}
	}
	id := g.Op("POST", "/v1/accounts", `{"name":"n"}`).Want(t, 201)
	g.Op("DELETE", "/v1/accounts/"+id.Text("id"), "", "If-Match", `"99", `+id.Header.Get("ETag")).Want(t, 200)
}

// A repeat is answered with the stored result even when the key's expiry, which was in
// the future, has passed; another body and another call are not.
func TestRepeatAfterExpiry(t *testing.T) {
	g := apitest.New(t)
	first := g.Op("POST", "/v1/keys", `{"name":"probe","type":"test"}`).Want(t, 201)
	now, err := time.Parse(time.RFC3339, first.Text("created_at"))
	apitest.Must(t, err)
	at := now.Add(time.Minute).Format(time.RFC3339)
	body := `{"name":"k","type":"test","expires_at":"` + at + `"}`
	key := func() []string { return []string{rest.IdempotencyHeader, "once"} }
	id := g.Op("POST", "/v1/keys", body, key()...).Want(t, 201).Text("id")
	g.Now.Add(int64(2 * time.Minute))
	a := g.Op("POST", "/v1/keys", body, key()...).Want(t, 200)
	if a.Text("id") != id || a.JSON["secret_withheld"] != true {
		t.Errorf("%s", a.Body)
	}
	g.Op("POST", "/v1/keys", body).Want(t, 422, fault.InvalidValue)
	g.Op("POST", "/v1/keys", body, rest.IdempotencyHeader, "another").Want(t, 422, fault.InvalidValue)
	line := `{"name":"k","type":"test","expires_at":"` + at + `","key":"sk_test_aaaaaaaaaaaaaaaa"}`
	g.Now.Add(int64(-2 * time.Minute))
	imported := g.Op("POST", "/v1/keys/import", line, key()...).Want(t, 200)
	g.Now.Add(int64(2 * time.Minute))
	if again := g.Op("POST", "/v1/keys/import", line, key()...).Want(t, 200); again.Body != imported.Body {
		t.Errorf("the repeat of an import: %s, was %s", again.Body, imported.Body)
	}
	g.Now.Add(int64(24 * time.Hour))
	g.Op("POST", "/v1/keys", body, key()...).Want(t, 422, fault.InvalidValue)
}

// A period must not end before it begins; a date ends with its day.
func TestPeriods(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct {
		from, to string
		good     bool
	}{
		{"2026-01-02", "2026-01-01", false},
		{"2026-01-02", "2026-01-02", true},
		{"2026-01-02T12:00:00Z", "2026-01-02", true},
		{"2026-01-02", "2026-01-01T23:59:59Z", false},
		{"2026-01-02T00:00:00Z", "2026-01-01", false},
		{"2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", true},
		{"2026-01-02T00:00:01Z", "2026-01-02T00:00:00Z", false},
		{"2026-01-02T01:00:00%2B02:00", "2026-01-01", true},
	} {
		for path, param := range map[string]string{
			"/v1/audit-logs?limit=1&start_date=" + c.from + "&end_date=" + c.to: "end_date",
			"/v1/usage?from=" + c.from + "&to=" + c.to:                          "to",
		} {
			a := g.Op("GET", path, "")
			if good := a.Status == 200; good != c.good {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
			if e, _ := a.JSON["error"].(map[string]any); !c.good && e["param"] != param {
				t.Errorf("%s: %s", path, a.Body)
			}
		}
	}
}

// Where a key cannot be deleted, the answer names the call that ends it.
func TestDeleteNamesRevoke(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	a := g.Op("DELETE", "/v1/keys/"+id, "").Want(t, 405, fault.MethodNotAllowed)
	if want := "POST /v1/keys/{id}/revoke"; !strings.Contains(a.Message(), want) || a.Header.Get("Allow") == "" {
		t.Errorf("%s does not name %s", a.Body, want)
	}
	if a := g.Op("DELETE", "/v1/usage", "").Want(t, 405); strings.Contains(a.Message(), "revoke") {
		t.Errorf("%s", a.Body)
	}
}
