package manage_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestRotation(t *testing.T) {
	g := apitest.New(t)
	live, secret := g.Key("live", "read", "admin")
	a := g.Op("POST", "/v1/keys/"+live+"/rotate", "").Want(t, 201)
	if a.Text("replaces") != live || !strings.HasPrefix(a.Text("key"), "pk_live_") || a.Text("key") == secret || a.JSON["revocation"] == nil {
		t.Errorf("%s", a.Body)
	}
	old := g.Op("GET", "/v1/keys/"+live, "").Want(t, 200)
	if old.Text("state") != "rotating" || old.Text("replaced_by") != a.Text("id") {
		t.Errorf("%s", old.Body)
	}
	g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 200)
	g.Now.Add(int64(24*time.Hour - time.Minute))
	g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 200)
	g.Now.Add(int64(2 * time.Minute))
	g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 401, fault.KeyRevoked)
	if old = g.Op("GET", "/v1/keys/"+live, ""); old.Text("state") != "revoked" || old.Text("revoked_at") == "" || old.Text("revoke_reason") != "rotated" {
		t.Errorf("%s", old.Body)
	}
	test, testSecret := g.Key("test", "admin")
	g.Op("POST", "/v1/keys/"+test+"/rotate", "{}").Want(t, 201)
	g.Do(g.Admin.URL, "GET", "/v1/keys", testSecret, "").Want(t, 401, fault.KeyRevoked)
	again, _ := g.Key("live", "read")
	for _, bad := range []string{`{"overlap":"1w"}`, `{"overlap":"31d"}`, `{"overlap":"-1h"}`, `{"overlap":"721h"}`, `{"overlap":""}`, `{"overlap":5}`} {
		if a := g.Op("POST", "/v1/keys/"+again+"/rotate", bad).Want(t, 422, fault.InvalidValue); !strings.Contains(a.Message(), "overlap") {
			t.Errorf("%s: %s", bad, a.Message())
		}
	}
	g.Op("POST", "/v1/keys/"+again+"/rotate", `{"overlap":"720h"}`).Want(t, 201)
	g.Op("POST", "/v1/keys/"+test+"/rotate", "").Want(t, 409, fault.Conflict)
	g.Op("POST", "/v1/keys/key_nothing/rotate", "").Want(t, 404, fault.NotFound)
}

func TestRevocation(t *testing.T) {
	g := apitest.New(t)
	id, secret := g.Key("live", "admin")
	a := g.Op("POST", "/v1/keys/"+id+"/revoke", `{"reason":"leaked"}`).Want(t, 200)
	if a.Text("state") != "revoked" || a.Text("revoke_reason") != "leaked" || a.Text("revoked_by") == "" || a.JSON["revocation"] == nil {
		t.Errorf("%s", a.Body)
	}
	g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 401, fault.KeyRevoked)
	again := g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
	if again.Text("revoke_reason") != "leaked" || again.Text("revoked_at") != a.Text("revoked_at") {
		t.Errorf("revoked twice: %s", again.Body)
	}
	g.Op("PATCH", "/v1/keys/"+id, `{"state":"active"}`).Want(t, 409, fault.Conflict)
	g.Op("POST", "/v1/keys/key_nothing/revoke", "").Want(t, 404, fault.NotFound)

	g.Backend.Partial = true
	id, _ = g.Key("live", "read")
	a = g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 202)
	if !strings.Contains(a.Body, `"effective":false`) || !strings.Contains(a.Body, `"unconfirmed"`) {
		t.Errorf("%s", a.Body)
	}
	a = g.Op("POST", "/v1/keys/"+id+"/rotate", "").Want(t, 409)
	id, _ = g.Key("test", "read")
	g.Op("POST", "/v1/keys/"+id+"/rotate", "").Want(t, 202)
	g.Op("PUT", "/v1/allowlist", `{"entries":[]}`).Want(t, 202)
	g.Op("POST", "/v1/keys/revoke", `{"type":"test"}`).Want(t, 202)
}

func TestBulkRevocation(t *testing.T) {
	g := apitest.New(t)
	c := g.Client()
	ctx := context.Background()
	var ids []string
	for i := range 6 {
		k, err := c.CreateKey(ctx, client.NewKey{Name: "k", Type: []string{"test", "live"}[i%2], Environment: []string{"a", "b", "c"}[i%3]})
		apitest.Must(t, err)
		ids = append(ids, k.ID)
	}
	env, kind := "a", "live"
	dry, err := c.RevokeKeys(ctx, client.BulkRevocation{Environment: &env, DryRun: true})
	apitest.Must(t, err)
	if dry.Matched != 2 || dry.Revoked != 0 || !dry.DryRun || !slices.Equal(dry.IDs, []string{ids[0], ids[3]}) || dry.Revocation != nil {
		t.Errorf("%+v", dry)
	}
	done, err := c.RevokeKeys(ctx, client.BulkRevocation{Environment: &env, Type: &kind})
	apitest.Must(t, err)
	if done.Matched != 1 || done.Revoked != 1 || !slices.Equal(done.IDs, []string{ids[3]}) || done.Revocation == nil {
		t.Errorf("%+v", done)
	}
	done, err = c.RevokeKeys(ctx, client.BulkRevocation{IDs: append(ids, "key_unknown")})
	apitest.Must(t, err)
	if done.Matched != 6 || done.Revoked != 5 {
		t.Errorf("%+v", done)
	}
	for _, bad := range []string{`{}`, `{"reason":"x"}`, `{"ids":[]}`, `{"created_by":""}`, `{"dry_run":true}`, `{"ids":"x"}`, `{"created_before":"x"}`, `{"ids":["x"],"all":true}`} {
		g.Op("POST", "/v1/keys/revoke", bad).Want(t, 422)
	}
}

// A rotation does not promise an overlap beyond the key's own end, and leaves a disabled
// key alone.
func TestRotationsBounds(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	ends := time.Now().Add(4 * time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	g.Op("PATCH", "/v1/keys/"+id, `{"expires_at":"`+ends+`"}`).Want(t, 200)
	if a := g.Op("POST", "/v1/keys/"+id+"/rotate", `{"overlap":"24h"}`).Want(t, 201); a.Text("overlap_ends_at") != ends {
		t.Errorf("the overlap ends at %s, the key at %s", a.Text("overlap_ends_at"), ends)
	}
	off, _ := g.Key("live", "read")
	g.Op("PATCH", "/v1/keys/"+off, `{"state":"disabled"}`).Want(t, 200)
	if a := g.Op("POST", "/v1/keys/"+off+"/rotate", "").Want(t, 409, fault.Conflict); !strings.Contains(a.Message(), "enable it first") {
		t.Errorf("%s", a.Body)
	}
}
