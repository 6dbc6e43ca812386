package manage_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// finish has every delivery that waits for an endpoint delivered.
func finish(g *apitest.Rig, id string) {
	g.T.Helper()
	var done store.DeliveriesDone
	apitest.Must(g.T, g.Store.PendingDeliveries(store.WebhookID(id), func(d *store.Delivery) bool {
		done.Results = append(done.Results, store.DeliveryResult{
			Account: store.DefaultAccount, Webhook: store.WebhookID(id), Place: d.Place, State: store.Delivered,
			Try: &store.Try{At: time.Now(), Status: 204, DurationMS: 3},
		})
		return len(done.Results) < store.MaxDone
	}))
	_, err := g.Backend.Apply(&store.Command{At: time.Now(), Change: &done})
	apitest.Must(g.T, err)
}

// The life of an endpoint, by the typed client.
func TestWebhookLife(t *testing.T) {
	g := apitest.New(t)
	ctx := context.Background()
	hooks := client.Webhooks{Client: g.Client()}
	w, err := hooks.Create(ctx, client.NewWebhook{URL: "https://a.example/x", Events: []string{"key.revoked", "key.created", "key.revoked"}})
	apitest.Must(t, err)
	if !strings.HasPrefix(w.ID, "whk_") || w.Secret == nil || !strings.HasPrefix(*w.Secret, "whsec_") || strings.Join(w.Events, " ") != "key.created key.revoked" || !w.Enabled {
		t.Fatalf("%+v", w)
	}
	id, _ := g.Key("live", "read")
	g.Op("POST", "/v1/keys/"+id+"/revoke", `{"reason":"x"}`).Want(t, 200)
	g.Op("POST", "/v1/keys/"+id+"/revoke", `{"reason":"x"}`).Want(t, 200) // changes nothing
	list, err := hooks.Deliveries(ctx, w.ID, "", client.Page{})
	apitest.Must(t, err)
	if len(list.Data) != 2 || list.Data[0].Type != "key.revoked" || list.Data[1].Type != "key.created" || list.Data[0].State != "pending" {
		t.Fatalf("%+v", list)
	}
	finish(g, w.ID)
	d, err := hooks.Redeliver(ctx, w.ID, list.Data[0].ID)
	apitest.Must(t, err)
	if d.State != "pending" || d.WebhookID != list.Data[0].WebhookID || d.Attempts != 1 || *d.Log[0].Status != 204 || string(d.Body) != string(list.Data[0].Body) {
		t.Errorf("%+v", d)
	}
	w, err = hooks.Update(ctx, w.ID, client.Patch{"events": nil, "enabled": false})
	apitest.Must(t, err)
	if w.Secret != nil || len(w.Events) != 0 || w.Enabled || w.Pending != 1 {
		t.Errorf("%+v", w)
	}
	g.Op("POST", "/v1/webhooks/"+w.ID+"/test", "").Want(t, 409, fault.Conflict)
	w, err = hooks.RotateSecret(ctx, w.ID, "")
	apitest.Must(t, err)
	if w.Secret == nil || w.OldSecretEndsAt == nil || time.Until(*w.OldSecretEndsAt) < 23*time.Hour {
		t.Errorf("%+v", w)
	}
	// Again within the overlap: the first secret goes on to sign.
	w, err = hooks.RotateSecret(ctx, w.ID, "1h")
	apitest.Must(t, err)
	if w.OldSecretEndsAt == nil || time.Until(*w.OldSecretEndsAt) < 23*time.Hour || len(g.Store.Webhook("default", store.WebhookID(w.ID)).OldSecrets(time.Now())) != 2 {
		t.Errorf("%+v", w)
	}
	if w, err = hooks.RotateSecret(ctx, w.ID, "0s"); err != nil || w.OldSecretEndsAt != nil {
		t.Errorf("%+v %v", w, err)
	}
	_, err = hooks.Delete(ctx, w.ID)
	apitest.Must(t, err)
	g.Op("GET", "/v1/webhooks/"+w.ID, "").Want(t, 404, fault.NotFound)
}

// What is wrong with a body or a call is named.
func TestWebhookRefusals(t *testing.T) {
	g := apitest.New(t)
	for body, names := range map[string]string{
		`{}`: "url: is required", `{"url":null}`: "url: is required", `{"url":"ftp://a.example"}`: "https://", `{"url":"https://u:p@a.example"}`: "user name",
		`{"url":"https://a.example","events":["key.borrowed"]}`: `"key.borrowed" is no type`, `{"url":"https://a.example","secret":"x"}`: "secret",
		`{"url":"https://a.example/?k=pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"}`: "API key",
	} {
		if a := g.Op("POST", "/v1/webhooks", body).Want(t, 422); !strings.Contains(a.Message(), names) {
			t.Errorf("%s: %s", body, a.Message())
		}
	}
	a := g.Op("POST", "/v1/webhooks", `{"url":"https://a.example"}`).Want(t, 201)
	id, tag := a.Text("id"), a.Header.Get("ETag")
	path := "/v1/webhooks/" + id
	g.Op("PATCH", path, `{"url":null}`).Want(t, 422, fault.InvalidValue)
	g.Op("PATCH", path, `{"enabled":null}`).Want(t, 422, fault.InvalidValue)
	g.Op("POST", path+"/rotate-secret", `{"overlap":"31d"}`).Want(t, 422, fault.InvalidValue)
	g.Op("POST", path+"/redeliver", `{}`).Want(t, 422, fault.InvalidValue)
	g.Op("POST", path+"/deliveries/dlv_1/redeliver", "").Want(t, 404, fault.NotFound)
	g.Op("GET", path+"/deliveries?state=lost", "").Want(t, 422, fault.InvalidValue)
	g.Op("PATCH", path, `{"enabled":false}`, "If-Match", tag).Want(t, 200)
	g.Op("PATCH", path, `{"enabled":true}`, "If-Match", tag).Want(t, 412, fault.PreconditionFailed)
	// An endpoint of another account does not exist.
	account, _, secret := newAccount(g)
	for _, call := range [][2]string{{"GET", path}, {"DELETE", path}, {"GET", path + "/deliveries"}, {"POST", path + "/test"}, {"POST", path + "/rotate-secret"}} {
		g.Do(g.Admin.URL, call[0], call[1], secret, "").Want(t, 404, fault.NotFound)
	}
	for i := range store.MaxWebhooks {
		g.Do(g.Proxy.URL, "POST", "/v1/webhooks", secret, fmt.Sprintf(`{"url":"https://%d.example"}`, i)).Want(t, 201)
	}
	g.Do(g.Proxy.URL, "POST", "/v1/webhooks", secret, `{"url":"https://a.example"}`).Want(t, 422, fault.LimitReached)
	if n := len(g.Store.Webhooks(store.AccountID(account))); n != store.MaxWebhooks {
		t.Errorf("%d endpoints", n)
	}
}

// A secret is in the one answer that made it: in no other answer, log line, event or stored
// result; and a repeat of its call withholds it.
func TestWebhookSecretIsShownOnce(t *testing.T) {
	g := apitest.New(t)
	first := g.Op("POST", "/v1/webhooks", `{"url":"https://a.example"}`, "Idempotency-Key", "c").Want(t, 201)
	id := first.Text("id")
	again := g.Op("POST", "/v1/webhooks", `{"url":"https://a.example"}`, "Idempotency-Key", "c").Want(t, 200)
	rotated := g.Op("POST", "/v1/webhooks/"+id+"/rotate-secret", `{}`, "Idempotency-Key", "r").Want(t, 200)
	repeated := g.Op("POST", "/v1/webhooks/"+id+"/rotate-secret", `{}`, "Idempotency-Key", "r").Want(t, 200)
	if again.Text("id") != id || !strings.Contains(again.Body, `"secret":null,"secret_withheld":true`) || !strings.Contains(repeated.Body, `"secret_withheld":true`) {
		t.Errorf("repeats: %s %s", again.Body, repeated.Body)
	}
	g.Op("POST", "/v1/webhooks/"+id+"/test", "").Want(t, 200)
	apitest.Must(t, g.Local.Flush())
	seen := again.Body + repeated.Body + g.Log.String()
	for _, path := range []string{"/v1/webhooks", "/v1/webhooks/" + id, "/v1/webhooks/" + id + "/deliveries", "/v1/audit-logs", "/v1/audit-logs?format=csv", "/metrics"} {
		seen += g.Op("GET", path, "").Body
	}
	for _, secret := range []string{first.Text("secret"), rotated.Text("secret")} {
		if key := strings.TrimPrefix(secret, "whsec_"); key == "" || strings.Contains(seen, key) {
			t.Errorf("the secret %.9s… is shown again", secret)
		}
	}
}

// All deliveries since a time are queued again, however many steps that takes.
func TestRedeliverSince(t *testing.T) {
	g := apitest.New(t)
	g.Unchecked = true
	id := g.Op("POST", "/v1/webhooks", `{"url":"https://a.example","events":["key.created"]}`).Want(t, 201).Text("id")
	var lines strings.Builder
	const n = store.MaxRedeliveries + 200
	for i := range n {
		fmt.Fprintf(&lines, `{"name":"k","type":"test","key":"an-imported-key-%09d"}`+"\n", i)
	}
	g.Op("POST", "/v1/keys/import", lines.String()).Want(t, 200)
	finish(g, id)
	finish(g, id)
	a := g.Op("POST", "/v1/webhooks/"+id+"/redeliver", `{"since":"2020-01-01T00:00:00Z"}`).Want(t, 200)
	if want := fmt.Sprintf(`{"queued":%d}`, n); strings.TrimSpace(a.Body) != want {
		t.Errorf("%s, want %s", a.Body, want)
	}
	if q, err := g.Store.Queue(store.WebhookID(id)); err != nil || q.Pending != n || q.Finished != 0 {
		t.Errorf("%+v %v", q, err)
	}
	a = g.Op("POST", "/v1/webhooks/"+id+"/redeliver", `{"since":"2090-01-01T00:00:00Z"}`).Want(t, 200)
	if strings.TrimSpace(a.Body) != `{"queued":0}` {
		t.Errorf("since a time to come: %s", a.Body)
	}
}
