package manage_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// show is a key as GET shows it.
func show(g *apitest.Rig, id string) apitest.Answer {
	g.T.Helper()
	return g.Op("GET", "/v1/keys/"+id, "").Want(g.T, 200)
}

// A key is shown in each of its states, with the members that the state has, and
// the list finds it under that state and no other.
func TestKeyStates(t *testing.T) {
	g := apitest.New(t)
	now, _ := g.Config.Clock()
	make := func(body string) string { return g.Op("POST", "/v1/keys", body).Want(t, 201).Text("id") }
	ids := map[string]string{
		"active":   make(`{"name":"a","type":"live"}`),
		"disabled": make(`{"name":"d","type":"live"}`),
		"rotating": make(`{"name":"ro","type":"live"}`),
		"revoked":  make(`{"name":"re","type":"live"}`),
		"expired":  make(`{"name":"e","type":"live","expires_at":"` + now.Add(time.Minute).Format(time.RFC3339Nano) + `"}`),
	}
	g.Op("PATCH", "/v1/keys/"+ids["disabled"], `{"state":"disabled"}`).Want(t, 200)
	successor := g.Op("POST", "/v1/keys/"+ids["rotating"]+"/rotate", `{"overlap":"1h"}`).Want(t, 201).Text("id")
	g.Op("POST", "/v1/keys/"+ids["revoked"]+"/revoke", "").Want(t, 200)
	if s := show(g, ids["expired"]).Text("state"); s != "active" {
		t.Errorf("before its end a key is %s", s)
	}
	g.Now.Add(int64(time.Minute))
	for state, id := range ids {
		a := show(g, id)
		if a.Text("state") != state || (a.JSON["revoked_at"] != nil) != (state == "revoked") || (a.JSON["revoked_by"] != nil) != (state == "revoked") ||
			a.JSON["revoke_reason"] != nil || (a.JSON["replaced_by"] != nil) != (state == "rotating") || (a.JSON["expires_at"] != nil) != (state == "expired") {
			t.Errorf("%s: %s", state, a.Body)
		}
		want := map[string]bool{id: true}
		if state == "active" {
			want[successor] = true
		}
		var page struct{ Data []struct{ ID string } }
		apitest.Must(t, json.Unmarshal([]byte(g.Op("GET", "/v1/keys?state="+state, "").Want(t, 200).Body), &page))
		for _, k := range page.Data {
			if !want[k.ID] {
				t.Errorf("the list of %s keys holds %s", state, k.ID)
			}
			delete(want, k.ID)
		}
		if len(want) > 0 {
			t.Errorf("the list of %s keys lacks %v", state, want)
		}
	}
	g.Op("GET", "/v1/keys?state=gone", "").Want(t, 422, fault.InvalidValue)
}

// At the end of a rotation's overlap the key is shown as revoked then, though no
// command revoked it; a revocation during the overlap keeps its own reason.
func TestKeyAfterItsOverlap(t *testing.T) {
	g := apitest.New(t)
	lapsed, _ := g.Key("live", "read")
	cut, _ := g.Key("live", "read")
	now, _ := g.Config.Clock()
	for _, id := range []string{lapsed, cut} {
		g.Op("POST", "/v1/keys/"+id+"/rotate", `{"overlap":"30m"}`).Want(t, 201)
	}
	g.Op("POST", "/v1/keys/"+cut+"/revoke", `{"reason":"leaked"}`).Want(t, 200)
	g.Now.Add(int64(30*time.Minute - 1))
	if a := show(g, lapsed); a.Text("state") != "rotating" || a.JSON["revoked_at"] != nil || a.JSON["revoke_reason"] != nil {
		t.Errorf("in its overlap: %s", a.Body)
	}
	g.Now.Add(1)
	a := show(g, lapsed)
	at, err := time.Parse(time.RFC3339Nano, a.Text("revoked_at"))
	apitest.Must(t, err)
	if a.Text("state") != "revoked" || a.Text("revoke_reason") != "rotated" || a.JSON["revoked_by"] != nil || !at.Equal(now.Add(30*time.Minute)) {
		t.Errorf("after its overlap: %s", a.Body)
	}
	if a := show(g, cut); a.Text("revoke_reason") != "leaked" || a.JSON["revoked_by"] == nil {
		t.Errorf("revoked in its overlap: %s", a.Body)
	}
}

// The last use is shown with its address, if that is known, in UTC.
func TestLastUse(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	unused, _ := g.Key("live", "read")
	use := func(client netip.Addr) apitest.Answer {
		now, _ := g.Config.Clock()
		g.Local.Observe(&local.Observation{At: now.In(time.FixedZone("", 3600)), Method: "GET", Route: "/v1/chat", Status: 200, Account: "default", Key: store.KeyID(id), Client: client})
		apitest.Must(t, g.Local.Flush())
		g.Now.Add(int64(time.Minute))
		return show(g, id)
	}
	now, _ := g.Config.Clock()
	a := use(netip.MustParseAddr("203.0.113.9"))
	if at, err := time.Parse(time.RFC3339Nano, a.Text("last_used_at")); err != nil || !at.Equal(now) || at.Location() != time.UTC || a.Text("last_used_ip") != "203.0.113.9" {
		t.Errorf("%s", a.Body)
	}
	if a := use(netip.Addr{}); a.JSON["last_used_ip"] != nil || a.JSON["last_used_at"] == nil {
		t.Errorf("used from an unknown address: %s", a.Body)
	}
	if a := show(g, unused); a.JSON["last_used_at"] != nil || a.JSON["last_used_ip"] != nil {
		t.Errorf("an unused key: %s", a.Body)
	}
}

// settings is a body that sets every member that PATCH can clear.
const settings = `{"name":"n","type":"live","environment":"e","scopes":["read"],"expires_at":"2200-01-01T00:00:00Z","limits":{"requests_per_minute":5},` +
	`"max_cost_per_call":1.5,"monthly_budget":20,"allowlist":["203.0.113.0/24"],"routes":["/v1/chat"],"metadata":{"a":"b"}}`

// A null in a PATCH clears its member and no other; an absent member stays.
func TestPatchClearsOneMember(t *testing.T) {
	g := apitest.New(t)
	members := map[string]string{ // cleared they are
		"environment": "<nil>", "expires_at": "<nil>", "limits": "<nil>", "max_cost_per_call": "<nil>",
		"monthly_budget": "<nil>", "allowlist": "[]", "routes": "[]", "metadata": "map[]",
	}
	for cleared, empty := range members {
		id := g.Op("POST", "/v1/keys", settings).Want(t, 201).Text("id")
		was := show(g, id)
		g.Now.Add(int64(time.Second))
		a := g.Op("PATCH", "/v1/keys/"+id, `{"`+cleared+`":null}`).Want(t, 200)
		for name := range was.JSON {
			got, want := fmt.Sprint(a.JSON[name]), fmt.Sprint(was.JSON[name])
			if name == cleared {
				want = empty
			}
			if got != want {
				t.Errorf("after %s:null, %s is %s, want %s", cleared, name, got, want)
			}
		}
	}
	id := g.Op("POST", "/v1/keys", settings).Want(t, 201).Text("id")
	was := show(g, id)
	if a := g.Op("PATCH", "/v1/keys/"+id, `{}`).Want(t, 200); fmt.Sprint(a.JSON["limits"], a.JSON["metadata"], a.JSON["name"]) != fmt.Sprint(was.JSON["limits"], was.JSON["metadata"], was.JSON["name"]) {
		t.Errorf("an empty change changes %s into %s", was.Body, a.Body)
	}
}

// A change that cannot be is refused by the name of its member.
func TestPatchRefuses(t *testing.T) {
	g := apitest.New(t)
	id := g.Op("POST", "/v1/keys", settings).Want(t, 201).Text("id")
	tag := show(g, id).Header.Get("ETag")
	for body, bad := range map[string]string{
		`{"name":null}`: "name", `{"scopes":null}`: "scopes", `{"scopes":[]}`: "scopes", `{"state":null}`: "state", `{"state":"revoked"}`: "state",
		`{"state":"rotating"}`: "state", `{"limits":{"burst":5}}`: "limits.burst", `{"expires_at":"2020-01-01T00:00:00Z"}`: "expires_at",
		`{"allowlist":["x"]}`: "allowlist.0", `{"routes":["x"]}`: "routes.0", `{"monthly_budget":0}`: "monthly_budget", `{"type":"test"}`: "type",
	} {
		if a := g.Op("PATCH", "/v1/keys/"+id, body).Want(t, 422); !strings.Contains(a.Message(), bad) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
	g.Op("PATCH", "/v1/keys/"+id+"?force=perhaps", `{}`).Want(t, 422)
	g.Op("PATCH", "/v1/keys/key_none", `{}`).Want(t, 404, fault.NotFound)
	if a := show(g, id); a.Header.Get("ETag") != tag {
		t.Error("a refused change changed the key")
	}
	g.Op("PATCH", "/v1/keys/"+id, `{"name":"m"}`, "If-Match", `"nothing"`).Want(t, 412, fault.PreconditionFailed)
	a := g.Op("PATCH", "/v1/keys/"+id, `{"name":"m"}`, "If-Match", tag).Want(t, 200)
	if a.Text("name") != "m" || a.Header.Get("ETag") == tag {
		t.Errorf("%s", a.Body)
	}
	g.Op("PATCH", "/v1/keys/"+id, `{"name":"o"}`, "If-Match", tag).Want(t, 412, fault.PreconditionFailed)
	g.Backend.Stale = fault.New(fault.NoLeader)
	g.Op("PATCH", "/v1/keys/"+id, `{"name":"o"}`).Want(t, 503, fault.NoLeader)
}
