package manage_test

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// The calls about the keyring answer with its state, say why one is refused, and are
// audited.
func TestKeyring(t *testing.T) {
	g := apitest.New(t)
	for _, c := range []struct{ method, path string }{{"GET", "/v1/keyring"}, {"POST", "/v1/keyring/rotate-kek"}, {"POST", "/v1/keyring/rotate-data"}} {
		if a := g.Op(c.method, c.path, "").Want(t, 200); a.Text("kek") != "kek1" || a.Text("source") != "file" {
			t.Errorf("%s %s: %s", c.method, c.path, a.Body)
		}
		g.Op(c.method, c.path+"?x=1", "").Want(t, 422, fault.UnknownField)
	}
	for _, action := range []string{"keyring.rotate_kek", "keyring.rotate_data"} {
		if n := len(g.Events("?outcome=success&action=" + action)); n != 1 {
			t.Errorf("%d events of %s", n, action)
		}
	}
	g.Backend.Fail = &fault.Error{Code: fault.Conflict, Message: "A rotation is running."}
	for _, path := range []string{"/v1/keyring/rotate-kek", "/v1/keyring/rotate-data"} {
		if a := g.Op("POST", path, "").Want(t, 409, fault.Conflict); a.Message() != "A rotation is running." {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
}
