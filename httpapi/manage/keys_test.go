package manage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/manage"
)

func TestKeyObject(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("POST", "/v1/keys", `{"name":"Production Server","type":"live","environment":"production"}`).Want(t, 201)
	want := strings.Fields("account allowlist created_at created_by environment expires_at hint id key last_used_at last_used_ip limits " +
		"max_cost_per_call metadata monthly_budget name overlap_ends_at replaced_by replaces revoke_reason revoked_at revoked_by rotation_due_at routes scopes state type")
	if got := a.Members(); !slices.Equal(got, want) {
		t.Errorf("members\n%v\nwant\n%v", got, want)
	}
	secret := a.Text("key")
	if apikey.Parse(secret) != apikey.Native || !strings.HasPrefix(secret, "pk_live_") || a.Text("hint") != apikey.Hint(secret) {
		t.Errorf("key %q, hint %q", secret, a.Text("hint"))
	}
	if got := fmt.Sprint(a.JSON["scopes"]); got != "[read write]" || a.Text("state") != "active" || a.JSON["limits"] != nil || a.Text("account") != "default" {
		t.Errorf("%s", a.Body)
	}
	created, err := time.Parse(time.RFC3339Nano, a.Text("created_at"))
	apitest.Must(t, err)
	due, err := time.Parse(time.RFC3339Nano, a.Text("rotation_due_at"))
	apitest.Must(t, err)
	if due.Sub(created) != 90*24*time.Hour {
		t.Errorf("due %v after", due.Sub(created))
	}
	read := g.Op("GET", "/v1/keys/"+a.Text("id"), "").Want(t, 200)
	if strings.Contains(read.Body, secret) || slices.Contains(read.Members(), "key") {
		t.Error("the key is shown again")
	}
	if read.Header.Get("ETag") != a.Header.Get("ETag") || a.Header.Get("ETag") == "" {
		t.Errorf("ETag %q after %q", read.Header.Get("ETag"), a.Header.Get("ETag"))
	}
}

// Everything that can be set comes back as it was, money to the last digit.
func TestKeyRoundTrip(t *testing.T) {
	g := apitest.New(t)
	c := g.Client()
	ctx := context.Background()
	cost, budget := json.Number("0.000000001"), json.Number("1234567.890123456")
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	five := int64(5)
	k, err := c.CreateKey(ctx, client.NewKey{
		Name: "ü", Type: "test", Environment: "staging", Scopes: []string{"write", "custom:x", "read", "read"}, ExpiresAt: &ends,
		Limits: &client.Limits{PerMinute: &five}, MaxCostPerCall: &cost, MonthlyBudget: &budget,
		Allowlist: []string{"203.0.113.7/24", "::ffff:198.51.100.42", "2001:db8::1"}, Routes: []string{"/v1/chat", "GET /v1/x"}, Metadata: map[string]string{"team": "a<b>"},
	})
	apitest.Must(t, err)
	k, err = c.GetKey(ctx, k.ID)
	apitest.Must(t, err)
	got := fmt.Sprint(k.Name, k.Type, *k.Environment, k.Scopes, k.ExpiresAt.Equal(ends), *k.Limits.PerMinute, k.Limits.PerMonth == nil, *k.MaxCostPerCall, *k.MonthlyBudget, k.Allowlist, k.Routes, k.Metadata)
	want := fmt.Sprint("ü", "test", "staging", []string{"custom:x", "read", "write"}, true, 5, true, cost, budget,
		[]string{"198.51.100.42", "203.0.113.0/24", "2001:db8::1"}, []string{"/v1/chat", "GET /v1/x"}, map[string]string{"team": "a<b>"})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	k, err = c.UpdateKey(ctx, k.ID, client.Patch{"environment": nil, "expires_at": nil, "limits": nil, "max_cost_per_call": nil, "monthly_budget": nil,
		"allowlist": nil, "routes": nil, "metadata": nil, "state": "disabled", "name": "n2", "scopes": []string{"read"}})
	apitest.Must(t, err)
	if k.Environment != nil || k.ExpiresAt != nil || k.Limits != nil || k.MaxCostPerCall != nil || k.MonthlyBudget != nil ||
		len(k.Allowlist)+len(k.Routes)+len(k.Metadata) != 0 || k.State != "disabled" || k.Name != "n2" || k.Revocation == nil || !k.Revocation.Effective {
		t.Errorf("%+v", k)
	}
	k, err = c.UpdateKey(ctx, k.ID, client.Patch{"state": "active"})
	apitest.Must(t, err)
	if k.State != "active" || k.Name != "n2" {
		t.Errorf("%+v", k)
	}
}

// Bounds are in characters; the store's own, in bytes, hold as many of any script.
func TestLongTextsOfAnyScript(t *testing.T) {
	g := apitest.New(t)
	word := func(n int) string { return strings.Repeat("𝕏", n) }
	a := g.Op("POST", "/v1/keys", `{"name":"`+word(manage.MaxName)+`","type":"live","environment":"`+word(manage.MaxEnvironment)+
		`","metadata":{"`+word(manage.MaxMetaName)+`":"`+word(manage.MaxMetaValue)+`"}}`).Want(t, 201)
	g.Op("POST", "/v1/keys/"+a.Text("id")+"/revoke", `{"reason":"`+word(manage.MaxReason)+`"}`).Want(t, 200)
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.1","note":"`+word(manage.MaxNote)+`"}]}`).Want(t, 200)
	g.Op("POST", "/v1/accounts", `{"name":"`+word(manage.MaxName)+`","region":"`+word(manage.MaxRegion)+`"}`).Want(t, 201)
}

// BenchmarkCreateKey is everything of a creation but the log: HTTP, decoding,
// apply without a sync, answer.
func BenchmarkCreateKey(b *testing.B) {
	g := apitest.New(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, _ := http.NewRequest("POST", g.Admin.URL+"/v1/keys", strings.NewReader(`{"name":"Production Server","type":"live"}`))
			r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil || resp.StatusCode != 201 {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}
