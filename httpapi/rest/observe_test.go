package rest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// Every refused management call is an event; one without a key belongs to the
// default account.
func TestDenialsAreAudited(t *testing.T) {
	g := apitest.New(t)
	id, reader := g.Key("live", "read")
	g.Do(g.Proxy.URL, "POST", "/v1/keys", reader, `{"name":"n","type":"live"}`).Want(t, 403)
	g.Do(g.Proxy.URL, "POST", "/v1/keys", "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", `{}`).Want(t, 401)
	g.Op("POST", "/v1/keys", `{"name":""}`).Want(t, 422)
	events := g.Events("?action=key.create&outcome=denied")
	var got []string
	for _, e := range events {
		got = append(got, e.Reason+" "+e.Actor.Type+" "+e.KeyID)
	}
	slices.Sort(got)
	want := []string{"insufficient_scope key " + id, "invalid_key  ", "invalid_value operator "}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := len(g.Events("?action=audit.read")); n != 1 {
		t.Errorf("%d reads of the audit log are in it, want 1", n)
	}
	// A use in management is a use.
	if a := g.Op("GET", "/v1/keys/"+id, ""); a.Text("last_used_at") != "" {
		t.Errorf("a refused call is a use: %s", a.Body)
	}
	admin, secret := g.Key("live", "admin")
	g.Do(g.Proxy.URL, "POST", "/v1/keys", secret, `{"name":"n","type":"live"}`).Want(t, 201)
	apitest.Must(t, g.Local.Flush())
	if a := g.Op("GET", "/v1/keys/"+admin, ""); a.Text("last_used_at") == "" || a.Text("last_used_ip") != "127.0.0.1" {
		t.Errorf("a use is not noted: %s", a.Body)
	}
}

// The event of a refused call has the type that the event of its success has,
// for every method: a filter by it finds the attempts beside the changes.
func TestDenialsHaveTheirActionsType(t *testing.T) {
	g := apitest.New(t)
	id, reader := g.Key("live", "read")
	for _, c := range []struct{ method, path, action, want string }{
		{"GET", "/v1/keys", "key.list", "read"},
		{"GET", "/v1/keys/" + id, "key.read", "read"},
		{"POST", "/v1/keys", "key.create", "create"},
		{"POST", "/v1/keys/import", "key.import", "create"},
		{"POST", "/v1/keys/verify", "key.verify", "read"},
		{"PATCH", "/v1/keys/" + id, "key.update", "update"},
		{"POST", "/v1/keys/" + id + "/rotate", "key.rotate", "update"},
		{"POST", "/v1/keys/" + id + "/revoke", "key.revoke", "delete"},
		{"POST", "/v1/keys/revoke", "key.revoke_bulk", "delete"},
		{"PUT", "/v1/allowlist", "allowlist.update", "update"},
		{"DELETE", "/v1/tiers/free", "tier.delete", "delete"},
	} {
		g.Do(g.Admin.URL, c.method, c.path, reader, "").Want(t, 403)
		events := g.Events("?outcome=denied&action=" + c.action)
		if len(events) != 1 || events[0].EventType != c.want {
			t.Errorf("%s %s: %+v, want one event of type %s", c.method, c.path, events, c.want)
		}
		if n := len(g.Events("?outcome=denied&event_type=" + c.want + "&action=" + c.action)); n != 1 {
			t.Errorf("%s: %d events are found by type, want 1", c.action, n)
		}
	}
	// The change itself agrees.
	g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
	if n := len(g.Events("?event_type=delete&action=key.revoke")); n != 2 {
		t.Errorf("%d revocations are found by type, want the refused and the made one", n)
	}
}

// Events of calls have the path, and the name of the key that made them: of reads, too.
func TestEventsNameKeyAndPath(t *testing.T) {
	g := apitest.New(t)
	id, secret := g.Key("live", "admin")
	g.Op("PATCH", "/v1/keys/"+id, `{"name":"nightly"}`).Want(t, 200)
	g.Do(g.Admin.URL, "GET", "/v1/keys/"+id, secret, "").Want(t, 200)
	g.Do(g.Admin.URL, "PATCH", "/v1/keys/"+id, secret, `{"name":""}`).Want(t, 422)
	apitest.Must(t, g.Local.Flush())
	g.Now.Add(int64(time.Minute))
	for _, action := range []string{"key.read", "key.update"} {
		a := g.Op("GET", "/v1/audit-logs?format=ndjson&user="+id+"&action="+action, "").Want(t, 200)
		if !strings.Contains(a.Body, `"name":"nightly"`) || !strings.Contains(a.Body, `"path":"/v1/keys/`+id+`"`) {
			t.Errorf("%s: %s", action, a.Body)
		}
	}
}
