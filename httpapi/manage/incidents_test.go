package manage_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// An incident freezes the account, revokes what its filters select, and ends with its close.
func TestIncidentRevokes(t *testing.T) {
	g := apitest.New(t)
	bad, _ := g.Key("live", "read")
	good, _ := g.Key("test", "read")
	a := g.Op("POST", "/v1/incidents", `{"title":"Laptop stolen","match":{"type":"live"},"action":"revoke","freeze":true}`, "Idempotency-Key", "i").Want(t, 201)
	id := a.Text("id")
	if !strings.Contains(a.Body, `"keys":["`+bad+`"]`) || !strings.Contains(a.Body, `"matched":1,`) || !strings.Contains(a.Body, `"effective":true`) {
		t.Errorf("%s", a.Body)
	}
	again := g.Op("POST", "/v1/incidents", `{"title":"Laptop stolen","match":{"type":"live"},"action":"revoke","freeze":true}`, "Idempotency-Key", "i").Want(t, 200)
	if again.Text("id") != id {
		t.Errorf("a repeat opened another incident: %s", again.Body)
	}
	if k := g.Op("GET", "/v1/keys/"+bad, ""); k.Text("state") != "revoked" || k.Text("revoke_reason") != "incident "+id {
		t.Errorf("%s", k.Body)
	}
	if k := g.Op("GET", "/v1/keys/"+good, ""); k.Text("state") != "active" {
		t.Errorf("%s", k.Body)
	}
	for path, body := range map[string]string{
		"/v1/keys": `{"name":"n","type":"test"}`, "/v1/keys/" + good + "/rotate": "", "/v1/keys/import": `{"name":"n","type":"test","key":"an-imported-key-0123456789"}`,
	} {
		if a := g.Op("POST", path, body).Want(t, 409, fault.Conflict); !strings.Contains(a.Message(), id) {
			t.Errorf("%s: %s", path, a.Message())
		}
	}
	g.Op("POST", "/v1/incidents/"+id+"/close", "").Want(t, 200)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"test"}`).Want(t, 201)
	page := g.Op("GET", "/v1/incidents", "").Want(t, 200)
	if !strings.Contains(page.Body, `"state":"closed"`) || strings.Contains(page.Body, `"keys"`) {
		t.Errorf("%s", page.Body)
	}
	for body, names := range map[string]string{
		`{"action":"none"}`: "title", `{"title":"t"}`: "action", `{"title":"t","action":"burn"}`: "action", `{"title":"t","action":"revoke"}`: "match",
		`{"title":"t","action":"revoke","match":{}}`: "name at least one", `{"title":"t","action":"revoke","match":{"ids":["x"]}}`: "id of a key",
	} {
		if a := g.Op("POST", "/v1/incidents", body).Want(t, 422); !strings.Contains(a.Body, names) {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
}

// A rotation by an incident replaces keys at once, also while it freezes the account, and
// shows the new ones once.
func TestIncidentRotates(t *testing.T) {
	g := apitest.New(t)
	old, secret := g.Key("live", "read")
	ctx := context.Background()
	n, err := client.Incidents{Client: g.Client()}.Open(ctx, client.NewIncident{Title: "t", Match: &client.IncidentMatch{IDs: []string{old}}, Action: "rotate", Freeze: true}, client.Header("Idempotency-Key", "r"))
	apitest.Must(t, err)
	if n.Rotated != 1 || len(n.NewKeys) != 1 || n.NewKeys[0].Replaces != old || n.NewKeys[0].Key == nil {
		t.Fatalf("%+v", n)
	}
	verdict := func(key string) string { return g.Op("POST", "/v1/keys/verify", `{"key":"`+key+`"}`).Want(t, 200).Body }
	if !strings.Contains(verdict(secret), `"valid":false`) || !strings.Contains(verdict(*n.NewKeys[0].Key), `"valid":true`) {
		t.Errorf("old key: %s, new key: %s", verdict(secret), verdict(*n.NewKeys[0].Key))
	}
	again, err := client.Incidents{Client: g.Client()}.Open(ctx, client.NewIncident{Title: "t", Match: &client.IncidentMatch{IDs: []string{old}}, Action: "rotate", Freeze: true}, client.Header("Idempotency-Key", "r"))
	apitest.Must(t, err)
	for _, k := range again.NewKeys {
		if k.Key != nil {
			t.Errorf("a repeat shows a secret: %+v", again)
		}
	}
	if again.ID != n.ID || again.Rotated != 1 {
		t.Errorf("%+v", again)
	}
}

// A repeat goes on with the keys that were found first: it does not rotate those that
// replaced them, although the filter matches them too.
func TestIncidentRepeatedByFilter(t *testing.T) {
	for _, action := range []string{"rotate", "revoke"} {
		g := apitest.New(t)
		old, _ := g.Key("live", "read")
		open := func() *client.Incident {
			t.Helper()
			live := "live"
			n, err := client.Incidents{Client: g.Client()}.Open(t.Context(), client.NewIncident{Title: "t", Match: &client.IncidentMatch{Type: &live}, Action: action, Freeze: true}, client.Header("Idempotency-Key", "r"))
			apitest.Must(t, err)
			return n
		}
		first, again := open(), open()
		if len(first.Keys) != 1 || first.Keys[0] != old || len(again.Keys) != 1 || again.Keys[0] != old || again.ID != first.ID || again.Matched != 1 {
			t.Errorf("%s: keys %v of %d, then %v of %d", action, first.Keys, first.Matched, again.Keys, again.Matched)
		}
		for _, k := range first.NewKeys {
			if s := g.Op("GET", "/v1/keys/"+k.ID, "").Want(t, 200).Text("state"); s != "active" {
				t.Errorf("the repeat made the new key %s", s)
			}
		}
	}
}

// The report says who used the keys from where, and its signature is that of the key that
// signs the audit log.
func TestIncidentReport(t *testing.T) {
	g := apitest.New(t)
	key, _ := g.Key("live", "read")
	id := g.Op("POST", "/v1/incidents", `{"title":"<b>Leak</b>","match":{"ids":["`+key+`"]},"action":"revoke"}`).Want(t, 201).Text("id")
	g.Op("GET", "/v1/incidents/"+id+"/report", "").Want(t, 503, fault.Unavailable) // nothing can sign yet
	seed := make([]byte, 32)
	_, err := g.Backend.Apply(&store.Command{At: time.Now(), Account: store.DefaultAccount, Change: &store.AuditKey{Seed: seed, First: true}})
	apitest.Must(t, err)
	for i := range 3 {
		g.Local.Observe(&local.Observation{
			At: time.Now(), RequestID: "r", Method: "GET", Route: "/", Status: 200, Client: netip.MustParseAddr("192.0.2.9"), UserAgent: "curl/8", Account: store.DefaultAccount, Key: store.KeyID(key), Type: store.Live,
			Code: map[bool]string{true: "key_revoked"}[i == 2],
		})
	}
	apitest.Must(t, g.Local.Flush())
	a := g.Op("GET", "/v1/incidents/"+id+"/report", "").Want(t, 200)
	var doc struct {
		Report    json.RawMessage
		Signature struct {
			Key   string
			Value []byte
		}
	}
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &doc))
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ed25519.Verify(public, append([]byte("perfgate incident report 1\n"), doc.Report...), doc.Signature.Value) || doc.Signature.Key != g.Store.AuditKeys()[0].ID {
		t.Errorf("the signature %+v does not fit", doc.Signature)
	}
	for _, part := range []string{`"ip":"192.0.2.9"`, `"requests":2`, `"refused":1`, `"user_agent":"curl/8"`, `"action":"key.revoke"`, `"action":"incident.open"`} {
		if !strings.Contains(string(doc.Report), part) {
			t.Errorf("the report lacks %s: %s", part, doc.Report)
		}
	}
	g.Unchecked = true // the checker reads no HTML
	page := g.Op("GET", "/v1/incidents/"+id+"/report", "", "Accept", "text/html").Want(t, 200)
	if ct := page.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") || !strings.Contains(page.Body, "192.0.2.9") || strings.Contains(page.Body, "<b>Leak") {
		t.Errorf("%s: %.300s", ct, page.Body)
	}
}
