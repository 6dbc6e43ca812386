package manage_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

func TestAllowlist(t *testing.T) {
	g := apitest.New(t)
	text := "# offices\r\n203.0.113.0/24 # Berlin\n\n  198.51.100.42\t#home\n::ffff:192.0.2.1\n203.0.113.7/24 # again\n2001:db8::/32\n"
	a := g.Op("PUT", "/v1/allowlist", text, "Content-Type", "text/plain; charset=utf-8").Want(t, 200)
	want := []any{
		map[string]any{"cidr": "203.0.113.0/24", "note": "Berlin"}, map[string]any{"cidr": "198.51.100.42", "note": "home"},
		map[string]any{"cidr": "192.0.2.1", "note": ""}, map[string]any{"cidr": "2001:db8::/32", "note": ""},
	}
	if fmt.Sprint(a.JSON["entries"]) != fmt.Sprint(want) || a.JSON["revocation"] == nil {
		t.Errorf("%s", a.Body)
	}
	get := g.Op("GET", "/v1/allowlist", "").Want(t, 200)
	if fmt.Sprint(get.JSON["entries"]) != fmt.Sprint(want) || get.Header.Get("ETag") != a.Header.Get("ETag") {
		t.Errorf("%s", get.Body)
	}
	plain := g.Op("GET", "/v1/allowlist", "", "Accept", "text/plain").Want(t, 200)
	if plain.Body != "203.0.113.0/24 # Berlin\n198.51.100.42 # home\n192.0.2.1\n2001:db8::/32\n" {
		t.Errorf("%q", plain.Body)
	}
	g.Op("PUT", "/v1/allowlist", plain.Body, "Content-Type", "text/plain").Want(t, 200)
	if again := g.Op("GET", "/v1/allowlist", ""); fmt.Sprint(again.JSON["entries"]) != fmt.Sprint(want) {
		t.Errorf("what is shown as text reads as %s", again.Body)
	}
	for accept, ct := range map[string]string{"text/plain;q=0, */*": "application/json", "application/json, text/plain": "application/json", "text/html, text/plain": "text/plain; charset=utf-8",
		"text/plain;q=0.1, application/json": "application/json", "application/json;q=0.2, text/plain;q=0.3": "text/plain; charset=utf-8", "text/plain, */*": "text/plain; charset=utf-8"} {
		if got := g.Op("GET", "/v1/allowlist", "", "Accept", accept).Header.Get("Content-Type"); got != ct {
			t.Errorf("Accept %q: %s", accept, got)
		}
	}
	a = g.Op("PUT", "/v1/allowlist", "10.0.0.0/8\nnonsense\n# fine\n1.2.3.4/33\nfe80::1%eth0\n", "Content-Type", "text/plain").Want(t, 422, fault.InvalidValue)
	for _, name := range []string{`line 2: "nonsense"`, `line 4: "1.2.3.4/33"`, "line 5:"} {
		if !strings.Contains(a.Message(), name) {
			t.Errorf("%s is not named: %s", name, a.Message())
		}
	}
	a = g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"10.0.0.0/8"},{"cidr":"x"},{"cidr":"","note":"n"}]}`).Want(t, 422, fault.InvalidValue)
	if !strings.Contains(a.Message(), "entries.1") || !strings.Contains(a.Message(), "entries.2") {
		t.Errorf("%s", a.Message())
	}
	a = g.Op("PUT", "/v1/allowlist", strings.Repeat("bad\n", 100_000), "Content-Type", "text/plain").Want(t, 422)
	if len(a.Body) > 60<<10 || !strings.Contains(a.Message(), "; and 99980 more.") {
		t.Errorf("%d bytes: …%s", len(a.Body), a.Message()[len(a.Message())-100:])
	}
	g.Op("PUT", "/v1/allowlist", `{}`).Want(t, 422, fault.InvalidValue)
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"10.0.0.0/8","x":1}]}`).Want(t, 422, fault.UnknownField)
	g.Op("PUT", "/v1/allowlist", "x", "Content-Type", "application/xml").Want(t, 415)
	if got := g.Op("GET", "/v1/allowlist", ""); fmt.Sprint(got.JSON["entries"]) != fmt.Sprint(want) {
		t.Error("a refused list changed the list")
	}
}

func TestAllowlistOfManyEntries(t *testing.T) {
	g := apitest.New(t)
	var b strings.Builder
	for i := range store.MaxAllowlist {
		fmt.Fprintf(&b, "10.%d.%d.%d # a note for this one\n", i>>16, i>>8&255, i&255)
	}
	g.Op("PUT", "/v1/allowlist", b.String(), "Content-Type", "text/plain").Want(t, 200)
	if got := g.Op("GET", "/v1/allowlist", "", "Accept", "text/plain").Body; got != b.String() {
		t.Errorf("%d bytes came back of %d", len(got), b.Len())
	}
	b.WriteString("11.0.0.1\n")
	g.Op("PUT", "/v1/allowlist", b.String(), "Content-Type", "text/plain").Want(t, 422)
	g.Op("PUT", "/v1/allowlist", strings.Repeat("#", manage.MaxAllowBody+1), "Content-Type", "text/plain").Want(t, 413)
}

func TestLockOut(t *testing.T) {
	g := apitest.New(t)
	id, secret := g.Key("live", "admin")
	put := func(base, path, body string) apitest.Answer {
		return g.Do(base, "PUT", path, secret, body, "X-Forwarded-For", "192.0.2.9")
	}
	other := `{"entries":[{"cidr":"203.0.113.0/24"}]}`
	for _, base := range []string{g.Admin.URL, g.Proxy.URL} {
		a := put(base, "/v1/allowlist", other).Want(t, 409, fault.WouldLockOut)
		if !strings.Contains(a.Message(), "192.0.2.9") {
			t.Errorf("%s", a.Message())
		}
	}
	patch := func(path, body string) apitest.Answer {
		return g.Do(g.Admin.URL, "PATCH", path, secret, body, "X-Forwarded-For", "192.0.2.9")
	}
	patch("/v1/keys/"+id, `{"allowlist":["203.0.113.0/24"]}`).Want(t, 409, fault.WouldLockOut)
	patch("/v1/keys/"+id, `{"allowlist":["192.0.2.0/24"]}`).Want(t, 200)
	patch("/v1/keys/"+id, `{"allowlist":[]}`).Want(t, 200)
	other2, _ := g.Key("live", "read")
	patch("/v1/keys/"+other2, `{"allowlist":["203.0.113.0/24"]}`).Want(t, 200)
	put(g.Admin.URL, "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.0/24"}]}`).Want(t, 200)
	put(g.Admin.URL, "/v1/allowlist?force=maybe", other).Want(t, 422)
	put(g.Admin.URL, "/v1/allowlist?force=false", other).Want(t, 409)
	put(g.Admin.URL, "/v1/allowlist?force=true", other).Want(t, 200)
	// From now on the list binds the key on both listeners, and no operator.
	put(g.Admin.URL, "/v1/allowlist", other).Want(t, 403, fault.IPNotAllowed)
	put(g.Proxy.URL, "/v1/allowlist", other).Want(t, 403, fault.IPNotAllowed)
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"203.0.113.0/25"}]}`).Want(t, 200)
	g.Do(g.Proxy.URL, "GET", "/v1/allowlist", secret, "", "X-Forwarded-For", "203.0.113.5").Want(t, 200)
}

func TestAllowlistNeedsItsTier(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"small","tier":"free"}`).Want(t, 201).Text("id")
	list := `{"entries":[{"cidr":"203.0.113.0/24"}]}`
	g.Op("PUT", "/v1/allowlist", list, rest.AccountHeader, acct).Want(t, 403, fault.FeatureNotInTier)
	g.Op("PUT", "/v1/allowlist", `{"entries":[]}`, rest.AccountHeader, acct).Want(t, 200)
	g.Op("PATCH", "/v1/accounts/"+acct, `{"tier":"enterprise"}`).Want(t, 200)
	g.Op("PUT", "/v1/allowlist", list, rest.AccountHeader, acct).Want(t, 200)
	g.Op("PATCH", "/v1/accounts/"+acct, `{"tier":"free"}`).Want(t, 200)
	if a := g.Op("GET", "/v1/allowlist", "", rest.AccountHeader, acct); !strings.Contains(a.Body, "203.0.113.0/24") {
		t.Error("a downgrade drops the list")
	}
}

// A list without a type of its own is text unless it begins as JSON; curl gives
// every body that type.
func TestAllowlistFromCurl(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct {
		body   string
		status int
		says   string // shown as text, or in the message of the fault
	}{
		{"192.0.2.1 # a\n", 200, "192.0.2.1 # a\n"}, {" \n\t2001:db8::/32", 200, "2001:db8::/32\n"}, {"# nothing\n", 422, "is empty"},
		{`{"entries":[{"cidr":"192.0.2.2"}]}`, 200, "192.0.2.2\n"}, {"\r\n {\"entries\":[]}", 200, ""}, {"[]", 422, "an object"}, {"x", 422, "line 1"},
	} {
		a := g.Op("PUT", "/v1/allowlist", c.body, "Content-Type", rest.FormType).Want(t, c.status)
		if got := g.Op("GET", "/v1/allowlist", "", "Accept", "text/plain").Want(t, 200); a.Status == 200 && got.Body != c.says {
			t.Errorf("%q is shown as %q, want %q", c.body, got.Body, c.says)
		} else if !strings.Contains(a.Message(), c.says) && a.Status != 200 {
			t.Errorf("%q: %s, want %q", c.body, a.Message(), c.says)
		}
	}
}

// Accept chooses the form by its first type that fits; JSON is the default.
func TestAllowlistAccept(t *testing.T) {
	g := apitest.New(t)
	for accept, text := range map[string]bool{
		"": false, "*/*": false, "application/*": false, "text/plain": true, "text/plain; charset=utf-8": true, "text/plain, */*": true,
		"*/*, text/plain": false, "text/html;q=0.9, text/plain;q=0.5": true, "text/plain;q=0": false, "/, text/plain": true, "text/*": false,
	} {
		var header []string
		if accept != "" {
			header = []string{"Accept", accept}
		}
		a := g.Op("GET", "/v1/allowlist", "", header...).Want(t, 200)
		if got := strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain"); got != text || a.Header.Get("Vary") != "Accept" {
			t.Errorf("Accept %q: %v", accept, a.Header)
		}
	}
	g.Op("GET", "/v1/allowlist?format=text", "").Want(t, 422, fault.UnknownField)
}

// The list has a version of its own, which a PUT can name.
func TestAllowlistMatch(t *testing.T) {
	g := apitest.New(t)
	put := func(cidr string, headers ...string) apitest.Answer {
		return g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"`+cidr+`"}]}`, headers...)
	}
	first := put("192.0.2.1").Want(t, 200).Header.Get("ETag")
	g.Op("PATCH", "/v1/account", `{"name":"m"}`).Want(t, 200)
	second := put("192.0.2.2", "If-Match", first).Want(t, 200).Header.Get("ETag")
	put("192.0.2.3", "If-Match", first).Want(t, 412, fault.PreconditionFailed)
	if got := g.Op("GET", "/v1/allowlist", "", "Accept", "text/plain"); got.Body != "192.0.2.2\n" || got.Header.Get("ETag") != second || first == second {
		t.Errorf("%q %v", got.Body, got.Header)
	}
	g.Backend.Stale = fault.New(fault.NoLeader)
	put("192.0.2.3", "If-Match", second).Want(t, 503, fault.NoLeader)
}

// A list that shuts out its author is set when the body says so, and an operator or
// an empty list never asks.
func TestLockOutForced(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	put := func(body string, headers ...string) apitest.Answer {
		return g.Do(g.Admin.URL, "PUT", "/v1/allowlist", secret, body, append(headers, "X-Forwarded-For", "192.0.2.9")...)
	}
	put("203.0.113.0/24\n", "Content-Type", "text/plain").Want(t, 409, fault.WouldLockOut)
	put(`{"entries":[{"cidr":"203.0.113.0/24"}],"force":false}`).Want(t, 409, fault.WouldLockOut)
	put("203.0.113.0/24\n192.0.2.9\n", "Content-Type", "text/plain").Want(t, 200)
	put(`{"entries":[]}`).Want(t, 200)
	put(`{"entries":[{"cidr":"203.0.113.0/24"}],"force":true}`).Want(t, 200)
	put(`{"entries":[]}`).Want(t, 403, fault.IPNotAllowed)
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"198.51.100.0/24"}]}`).Want(t, 200)
}

// A text without entries, such as a file that could not be written, does not allow every
// address by accident: neither an operator's nor a key's.
func TestEmptyTextKeepsTheAllowlist(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	const list = "127.0.0.0/8\n"
	g.Op("PUT", "/v1/allowlist", list, "Content-Type", "text/plain").Want(t, 200)
	shows := func(when, want string) {
		t.Helper()
		if got := g.Op("GET", "/v1/allowlist", "", "Accept", "text/plain").Body; got != want {
			t.Errorf("%s: the list is %q, want %q", when, got, want)
		}
	}
	for _, body := range []string{"", "\n \r\n", "# all are gone\n#\n"} {
		for _, token := range []string{apitest.OperatorToken, secret} {
			a := g.Do(g.Admin.URL, "PUT", "/v1/allowlist", token, body, "Content-Type", "text/plain").Want(t, 422, fault.InvalidValue)
			if !strings.Contains(a.Message(), `{"entries": []}`) || !strings.Contains(a.Message(), "force=true") {
				t.Errorf("%q is answered %s", body, a.Message())
			}
			g.Do(g.Admin.URL, "PUT", "/v1/allowlist?force=false", token, body, "Content-Type", "text/plain").Want(t, 422, fault.InvalidValue)
		}
	}
	g.Op("PUT", "/v1/allowlist", "").Want(t, 400, fault.InvalidJSON)
	shows("after refusals", list)
	g.Op("PUT", "/v1/allowlist?force=true", "# all are gone\n", "Content-Type", "text/plain").Want(t, 200)
	shows("by force", "")
	g.Op("PUT", "/v1/allowlist", list, "Content-Type", "text/plain").Want(t, 200)
	g.Op("PUT", "/v1/allowlist", `{"entries": []}`).Want(t, 200)
	shows("in JSON", "")
}
