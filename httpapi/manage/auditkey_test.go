package manage_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// A rotated signing key is endorsed by the one before it, so that who trusts the first one
// trusts all.
func TestRotateAuditKey(t *testing.T) {
	g := apitest.New(t)
	g.Op("POST", "/v1/audit-logs/rotate-key", "").Want(t, 409, fault.Conflict)
	_, err := g.Backend.Apply(&store.Command{At: time.Now().UTC(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"},
		Change: &store.AuditKey{Seed: make([]byte, 32), First: true}})
	apitest.Must(t, err)
	var out struct {
		Keys []chain.Key `json:"keys"`
	}
	for n := 2; n <= 3; n++ {
		out.Keys = nil
		apitest.Must(t, json.Unmarshal([]byte(g.Op("POST", "/v1/audit-logs/rotate-key", "").Want(t, 200).Body), &out))
		if len(out.Keys) != n {
			t.Fatalf("%d keys, want %d", len(out.Keys), n)
		}
	}
	trusted := chain.Keys{}
	apitest.Must(t, trusted.Add(&out.Keys[0]))
	apitest.Must(t, trusted.Follow(out.Keys))
	if trusted[out.Keys[2].ID] == nil {
		t.Error("the newest key is not endorsed by a chain from the first one")
	}
	_, secret := g.Key("live", "admin")
	g.Do(g.Admin.URL, "POST", "/v1/audit-logs/rotate-key", secret, "").Want(t, 403, fault.Forbidden)
	if n := len(g.Events("?action=audit_key.rotate&outcome=success")); n != 2 {
		t.Errorf("%d events of two rotations", n)
	}
}
