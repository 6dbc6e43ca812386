package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// A key of perfgate's in the place of any id or name of a path is called a key in the
// answer, with the way to revoke it, and nothing is done.
func TestPastedKeyIsNoID(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "read")
	_, admin := g.Key("live", "admin")
	before, seen := g.Backend.Proposed.Load(), 0
	for _, rt := range g.API.Routes() {
		head, tail, ok := strings.Cut(rt.Path, "{")
		if !ok {
			continue
		}
		seen++
		_, tail, _ = strings.Cut(tail, "}")
		target := head + secret + strings.Replace(tail, "{did}", "dlv_1", 1)
		answers := []apitest.Answer{g.Op(rt.Method, target, "")}
		if rt.Access&rest.OnProxy != 0 {
			answers = append(answers, g.Do(g.Proxy.URL, rt.Method, target, admin, ""))
		}
		for _, a := range answers {
			a.Want(t, 404, fault.NotFound)
			if !strings.Contains(a.Body, apikey.Hint(secret)+" is an API key and not an id") || !strings.Contains(a.Body, "keys revoke --stdin") {
				t.Errorf("%s %s: %s", rt.Method, rt.Path, a.Body)
			}
		}
	}
	if n := g.Backend.Proposed.Load(); n != before || seen == 0 {
		t.Errorf("%d commands after calls of %d routes", n-before, seen)
	}
}

// An imported key has no checksum by which it could be told from other text: in the place
// of an id it is refused for its form, and is in no command, event or log line.
func TestPastedForeignKeyIsNoID(t *testing.T) {
	g := apitest.New(t)
	const secret = "sk_live_aaaaaaaaaaaaaaaa"
	g.Op("POST", "/v1/keys/import", `{"name":"n","type":"live","key":"`+secret+`"}`).Want(t, 200)
	before, seen := g.Backend.Proposed.Load(), 0
	for _, rt := range g.API.Routes() {
		head, tail, ok := strings.Cut(rt.Path, "{")
		if !ok || rt.IDs == "" {
			continue
		}
		seen++
		_, tail, _ = strings.Cut(tail, "}")
		tail = strings.Replace(tail, "{did}", "dlv_1", 1)
		for _, pasted := range []string{secret, rt.IDs + secret} {
			a := g.Op(rt.Method, head+pasted+tail, "").Want(t, 404, fault.NotFound)
			if want := fmt.Sprintf("There is no such id: one begins with %q.", rt.IDs); a.Message() != want {
				t.Errorf("%s %s: %s", rt.Method, rt.Path, a.Body)
			}
		}
	}
	if n := g.Backend.Proposed.Load(); n != before || seen == 0 {
		t.Errorf("%d commands after calls of %d routes", n-before, seen)
	}
	apitest.Must(t, g.Local.Flush())
	for name, text := range map[string]string{
		"the log": g.Log.String(), "the commands": g.Backend.Commands(), "the events": g.Op("GET", "/v1/audit-logs", "").Body,
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s hold the key", name)
		}
	}
}
