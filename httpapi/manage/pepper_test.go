package manage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// The pepper is rotated, keys are created, rotated and imported under the new one, and the
// rotation ends once no key needs the retired pepper: or by force, which revokes those.
func TestRotatePepper(t *testing.T) {
	g := apitest.New(t)
	used, secret := g.Key("live", "read")
	unused, _ := g.Key("live", "read")
	const foreign = "sk_live_0123456789abcdef"
	line := `{"name":"i","type":"live","key":"` + foreign + `"}`
	g.Op("POST", "/v1/keys/import", line).Want(t, 200)

	g.Op("POST", "/v1/keyring/finish-pepper", "").Want(t, 409, fault.Conflict)
	if a := g.Op("POST", "/v1/keyring/rotate-pepper", "").Want(t, 200); !strings.Contains(a.Body, `"generation":1`) || !strings.Contains(a.Body, `"keys_remaining":3`) {
		t.Errorf("%s", a.Body)
	}
	g.Op("POST", "/v1/keyring/rotate-pepper", "").Want(t, 409, fault.Conflict)
	find := func(secret string, id string, generation uint64) {
		t.Helper()
		rec, err := g.Config.Gate.Find(apikey.Sum(secret))
		if err != nil || rec == nil || id != "" && string(rec.ID) != id {
			t.Fatalf("%+v %v, want %s", rec, err, id)
		}
		if k, err := g.Store.Key(rec.ID); err != nil || k.Generation != generation {
			t.Errorf("%s: generation %d, want %d", rec.ID, k.Generation, generation)
		}
	}
	find(secret, used, 0)
	created, fresh := g.Key("live", "read")
	find(fresh, created, 1)
	next := g.Op("POST", "/v1/keys/"+created+"/rotate", "").Want(t, 201)
	find(next.Text("key"), next.Text("id"), 1)
	if a := g.Op("POST", "/v1/keys/import", line).Want(t, 200); !strings.Contains(a.Body, `"conflict"`) {
		t.Errorf("a key under the retired pepper was imported twice: %s", a.Body)
	}
	g.Op("POST", "/v1/keyring/finish-pepper", "").Want(t, 409, fault.Conflict)

	_, err := g.Backend.Apply(&store.Command{Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Change: &store.KeysRehash{
		Generation: 1, Keys: []store.Rehash{{ID: store.KeyID(used), Hash: apikey.Hash(g.Store.Pepper(), secret)}},
	}})
	apitest.Must(t, err)
	find(secret, used, 1)
	if a := g.Op("POST", "/v1/keyring/finish-pepper?force=true", "").Want(t, 200); !strings.Contains(a.Body, `"generation":1`) || !strings.Contains(a.Body, `"keys_remaining":null`) || !strings.Contains(a.Body, `"effective":true`) {
		t.Errorf("%s", a.Body)
	}
	find(secret, used, 1)
	if k, err := g.Store.Key(store.KeyID(unused)); err != nil || k.RevokedAt.IsZero() || k.RevokeReason != "its pepper was retired" {
		t.Errorf("%+v %v", k, err)
	}
	if k, err := g.Store.Key(store.KeyID(used)); err != nil || !k.RevokedAt.IsZero() {
		t.Errorf("a key that was used is revoked: %+v %v", k, err)
	}
	for _, action := range []string{"pepper.rotate", "pepper.finish"} {
		if n := len(g.Events("?outcome=success&action=" + action)); n != 1 {
			t.Errorf("%d events of %s", n, action)
		}
	}
}

// A call with an Idempotency-Key and no body takes effect once: its repeat finds the result.
func TestPepperIdempotency(t *testing.T) {
	g := apitest.New(t)
	_, _ = g.Key("live", "read")
	for range 2 {
		g.Op("POST", "/v1/keyring/rotate-pepper", "", "Idempotency-Key", "r").Want(t, 200)
	}
	g.Op("POST", "/v1/keyring/rotate-pepper", "{}", "Idempotency-Key", "r").Want(t, 422, fault.IdempotencyMismatch)
	for range 2 {
		g.Op("POST", "/v1/keyring/finish-pepper?force=true", "", "Idempotency-Key", "f").Want(t, 200)
	}
	g.Op("POST", "/v1/keyring/finish-pepper?force=true", "", "Idempotency-Key", "g").Want(t, 409, fault.Conflict)
	for _, action := range []string{"pepper.rotate", "pepper.finish"} {
		if n := len(g.Events("?outcome=success&action=" + action)); n != 1 {
			t.Errorf("%d events of %s", n, action)
		}
	}
}

// The forced end goes on when an account is deleted meanwhile.
func TestFinishPepperBesideADeletion(t *testing.T) {
	g := apitest.New(t)
	var accounts [3]string
	var keys [3]string
	for i := range accounts {
		accounts[i] = g.Op("POST", "/v1/accounts", `{"name":"a"}`).Want(t, 201).Text("id")
	}
	slices.Sort(accounts[:])
	for i, id := range accounts {
		keys[i] = g.Op("POST", "/v1/keys", `{"name":"k","type":"live"}`, rest.AccountHeader, id).Want(t, 201).Text("id")
	}
	g.Op("POST", "/v1/keyring/rotate-pepper", "").Want(t, 200)
	g.Backend.Hold, g.Backend.Held = make(chan struct{}), make(chan struct{}, 10)
	ended := make(chan apitest.Answer, 1)
	go func() { ended <- g.Op("POST", "/v1/keyring/finish-pepper?force=true", "") }()
	<-g.Backend.Held // the keys of all accounts were listed
	_, err := g.Backend.Apply(&store.Command{Account: store.AccountID(accounts[1]), Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Change: &store.AccountDelete{}})
	apitest.Must(t, err)
	close(g.Backend.Hold)
	(<-ended).Want(t, 200)
	for _, i := range []int{0, 2} {
		if k, err := g.Store.Key(store.KeyID(keys[i])); err != nil || k.RevokedAt.IsZero() {
			t.Errorf("account %d: %+v %v", i, k, err)
		}
	}
}
