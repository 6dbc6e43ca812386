package manage_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
)

// An overlap is the type's, or the one that was asked for: until its last moment
// both keys pass.
func TestRotationOverlaps(t *testing.T) {
	for _, c := range []struct {
		kind, body string
		overlap    time.Duration
	}{
		{"live", "", 24 * time.Hour}, {"live", `{}`, 24 * time.Hour}, {"live", `{"overlap":null}`, 24 * time.Hour}, {"live", `{"overlap":"0s"}`, 0},
		{"live", `{"overlap":"90m"}`, 90 * time.Minute}, {"test", "", 0}, {"test", `{"overlap":"1h"}`, time.Hour}, {"live", `{"overlap":"720h"}`, 720 * time.Hour},
	} {
		g := apitest.New(t)
		old, secret := g.Key(c.kind, "admin")
		a := g.Op("POST", "/v1/keys/"+old+"/rotate", c.body).Want(t, 201)
		read := func(token string, status int, code ...fault.Code) {
			t.Helper()
			g.Do(g.Admin.URL, "GET", "/v1/keys", token, "").Want(t, status, code...)
		}
		read(a.Text("key"), 200)
		if c.overlap > 0 {
			read(secret, 200)
			g.Now.Add(int64(c.overlap - 1))
			read(secret, 200)
			g.Now.Add(1)
		}
		read(secret, 401, fault.KeyRevoked)
		read(a.Text("key"), 200)
		if s := show(g, old); s.Text("state") != "revoked" || s.Text("replaced_by") != a.Text("id") {
			t.Errorf("%s %s: %s", c.kind, c.body, s.Body)
		}
	}
}

// The successor has the key's settings, but an identity and a life of its own.
// An overlap until the old key is unused shows when it ends, and who still uses it.
func TestRotationUntilUnused(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	created := g.Op("POST", "/v1/keys/"+id+"/rotate", `{"overlap":"until_unused"}`).Want(t, 201)
	now, _ := g.Config.Clock()
	if end := created.Text("overlap_ends_at"); end != now.UTC().Truncate(time.Millisecond).Add(30*24*time.Hour).Format("2006-01-02T15:04:05.999Z07:00") {
		t.Errorf("at the latest at %s", end)
	}
	at := func(d time.Duration) string {
		return now.UTC().Truncate(time.Millisecond).Add(d).Format("2006-01-02T15:04:05.999Z07:00")
	}
	if a := g.Op("GET", "/v1/keys/"+id, "").Want(t, 200); !strings.Contains(a.Body, `"overlap":{"until_unused":true,"ends_if_unused_at":"`+at(15*time.Minute)+`","used_by":[]}`) {
		t.Errorf("before any use: %s", a.Body)
	}
	g.Profiles = map[store.KeyID]insight.Profile{store.KeyID(id): {Recent: []insight.User{
		{IP: netip.MustParseAddr("203.0.113.7"), Country: "DE", Agent: "curl/8", At: now.UTC().Truncate(time.Millisecond).Add(time.Minute)},
		{IP: netip.MustParseAddr("203.0.113.9"), At: now.UTC().Truncate(time.Second)},
		{IP: netip.MustParseAddr("203.0.113.8"), At: now.Add(-time.Minute)},
	}}}
	if a := g.Op("GET", "/v1/keys/"+id, "").Want(t, 200); !strings.Contains(a.Body, `"ends_if_unused_at":"`+at(16*time.Minute)+`","used_by":[{"ip":"203.0.113.7","country":"DE","user_agent":"curl/8","last_used_at":"`+at(time.Minute)+`"},{"ip":"203.0.113.9",`) {
		t.Errorf("used since: %s", a.Body)
	}
	if a := g.Op("GET", "/v1/keys/"+created.Text("id"), "").Want(t, 200); strings.Contains(a.Body, `"overlap":`) {
		t.Errorf("the new key: %s", a.Body)
	}
	keys, _, err := g.Store.UntilUnused(now, "", 10)
	if err != nil || len(keys) != 1 || string(keys[0].ID) != id {
		t.Errorf("%v, %v", keys, err)
	}
	if keys, _, err := g.Store.UntilUnused(now.Add(31*24*time.Hour), "", 10); err != nil || len(keys) != 0 {
		t.Errorf("after the longest overlap: %v, %v", keys, err)
	}
	// Another overlap is fixed, and shows who still uses the old key too.
	id, _ = g.Key("live", "read")
	g.Op("POST", "/v1/keys/"+id+"/rotate", `{"overlap":"1h"}`).Want(t, 201)
	if a := g.Op("GET", "/v1/keys/"+id, "").Want(t, 200); !strings.Contains(a.Body, `"overlap":{"until_unused":false,"ends_if_unused_at":null,"used_by":[]}`) {
		t.Errorf("a fixed one: %s", a.Body)
	}
}

func TestRotationKeepsSettings(t *testing.T) {
	g := apitest.New(t)
	id := g.Op("POST", "/v1/keys", settings).Want(t, 201).Text("id")
	was := show(g, id)
	g.Now.Add(int64(time.Hour))
	a := g.Op("POST", "/v1/keys/"+id+"/rotate", "").Want(t, 201)
	now := show(g, a.Text("id"))
	for _, name := range []string{"name", "type", "environment", "scopes", "limits", "max_cost_per_call", "monthly_budget", "allowlist", "routes", "metadata", "account"} {
		if got, want := fmt.Sprint(now.JSON[name]), fmt.Sprint(was.JSON[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"id", "hint", "created_at", "rotation_due_at"} {
		if now.Text(name) == was.Text(name) || now.Text(name) == "" {
			t.Errorf("%s is %q as before", name, now.Text(name))
		}
	}
	if now.Text("replaces") != id || now.JSON["replaced_by"] != nil || a.Header.Get("ETag") != now.Header.Get("ETag") {
		t.Errorf("%s", now.Body)
	}
}

// A repeat of a creation or a rotation answers the same key, without its secret.
func TestRepeatsWithholdTheSecret(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	for path, body := range map[string]string{"/v1/keys": `{"name":"n","type":"live"}`, "/v1/keys/" + id + "/rotate": `{"overlap":"1h"}`} {
		first := g.Op("POST", path, body, rest.IdempotencyHeader, "again").Want(t, 201)
		if first.Text("key") == "" || first.JSON["secret_withheld"] != nil {
			t.Errorf("%s: %s", path, first.Body)
		}
		repeat := g.Op("POST", path, body, rest.IdempotencyHeader, "again").Want(t, 200)
		if repeat.Text("id") != first.Text("id") || repeat.JSON["key"] != nil || repeat.JSON["secret_withheld"] != true || repeat.Header.Get("ETag") != first.Header.Get("ETag") {
			t.Errorf("%s: the repeat answers %s", path, repeat.Body)
		}
	}
	if n := len(g.Events("?action=key.create&outcome=success")); n != 3 {
		t.Errorf("%d keys were made, want 3", n)
	}
}

// Rotating needs a key that is in force, and a node that knows its state.
func TestRotationRefuses(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	g.Op("POST", "/v1/keys/"+id+"/rotate", `{"overlap":"720h0m1s"}`).Want(t, 422, fault.InvalidValue)
	g.Op("POST", "/v1/keys/"+id+"/rotate", `{"for":"1h"}`).Want(t, 422, fault.UnknownField)
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	g.Op("POST", "/v1/keys/"+id+"/rotate", "", rest.AccountHeader, acct).Want(t, 404, fault.NotFound)
	g.Backend.Stale = fault.New(fault.NoLeader)
	g.Op("POST", "/v1/keys/"+id+"/rotate", "").Want(t, 503, fault.NoLeader)
	g.Backend.Stale = nil
	g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
	g.Op("POST", "/v1/keys/"+id+"/rotate", "").Want(t, 409, fault.Conflict)
}
