package manage_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// An erasure is scheduled for a day later, can be cancelled until then, and has a receipt that
// verifies once every node has reported.
func TestErasures(t *testing.T) {
	g := apitest.New(t)
	apply := func(c *store.Command) {
		t.Helper()
		c.At, c.Actor = time.Now(), store.Actor{Type: store.ActorSystem, ID: "n1"}
		if _, err := g.Backend.Propose(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	apply(&store.Command{Account: store.DefaultAccount, Change: &store.AuditKey{Seed: bytes.Repeat([]byte{7}, 32), First: true}})
	account := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	as := []string{"X-Perf-Account", account}
	for body, names := range map[string]string{`{}`: "/confirm", `{"confirm":"acct_other"}`: "/confirm"} {
		if a := g.Op("DELETE", "/v1/account/data", body, as...).Want(t, 422); !strings.Contains(a.Body, names) {
			t.Errorf("%s: %s", body, a.Body)
		}
	}
	if a := g.Op("DELETE", "/v1/account/data", `{"confirm":"default","everything":true}`).Want(t, 422); !strings.Contains(a.Body, "/everything") {
		t.Errorf("%s", a.Body)
	}

	e := g.Op("DELETE", "/v1/account/data", `{"confirm":"`+account+`"}`, as...).Want(t, 202)
	due, err := time.Parse(time.RFC3339, e.Text("effective_at"))
	if wait := time.Until(due); err != nil || e.Text("state") != "scheduled" || wait < 23*time.Hour || wait > 25*time.Hour {
		t.Errorf("%s", e.Body)
	}
	path := "/v1/account/erasures/" + e.Text("id")
	g.Op("DELETE", "/v1/account/data", `{"confirm":"`+account+`"}`, as...).Want(t, 409, fault.Conflict)
	if got := g.Op("POST", path+"/cancel", "", as...).Want(t, 200); got.Text("state") != "cancelled" {
		t.Errorf("%s", got.Body)
	}
	e = g.Op("DELETE", "/v1/account/data", `{"confirm":"`+account+`","everything":true,"now":true}`, as...).Want(t, 202)
	id := store.ErasureID(e.Text("id"))
	path = "/v1/account/erasures/" + string(id)
	if got := g.Op("GET", "/v1/account/erasures", "", as...).Want(t, 200); bytes.Count([]byte(got.Body), []byte(`"id":"ers_`)) != 2 {
		t.Errorf("%s", got.Body)
	}
	apply(&store.Command{Account: store.AccountID(account), Change: &store.ErasureRun{ID: id}})
	g.Op("POST", path+"/cancel", "").Want(t, 409, fault.Conflict)
	if got := g.Op("GET", path, "").Want(t, 200); got.Text("state") != "running" || !bytes.Contains([]byte(got.Body), []byte(`"receipt":null`)) {
		t.Errorf("%s", got.Body)
	}
	apply(&store.Command{Account: store.AccountID(account), Change: &store.ErasureReport{ID: id, Node: store.ErasureNode{ID: "n1", Name: "one", Backups: []string{"b"}, Count: 1}}})

	// The account is gone; its erasure is not.
	g.Op("GET", "/v1/account", "", as...).Want(t, 404)
	var got struct {
		State   string
		Receipt *struct {
			Statement json.RawMessage
			Signature struct {
				Key   string
				Value []byte
			}
			Keys []chain.Key
		}
	}
	if err := json.Unmarshal([]byte(g.Op("GET", path, "").Want(t, 200).Body), &got); err != nil || got.State != "done" || got.Receipt == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	r := got.Receipt
	if !ed25519.Verify(r.Keys[0].Public, append([]byte(chain.ReceiptFormat), r.Statement...), r.Signature.Value) || r.Signature.Key != r.Keys[0].ID {
		t.Error("the receipt does not verify")
	}
	g.Op("GET", "/v1/account/erasures/ers_none", "").Want(t, 404)
}
