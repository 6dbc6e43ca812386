package manage_test

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
)

// The nodes of a key's newest change: those that have applied it, and those that are waited for.
func TestKeyNodes(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	g.Backend.Others = []manage.NodeStatus{{Name: "n2", AppliedIndex: 1}}
	a := g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
	index := a.JSON["revocation"].(map[string]any)["index"]
	got := g.Op("GET", "/v1/keys/"+id+"/nodes", "").Want(t, 200).JSON
	nodes := got["nodes"].([]any)
	if got["state"] != "revoked" || got["index"] != index || len(nodes) != 2 || nodes[0].(map[string]any)["how"] != "applied" || nodes[1].(map[string]any)["how"] != "waiting" {
		t.Errorf("%v, and the revocation has the index %v", got, index)
	}
	other := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	g.Op("GET", "/v1/keys/"+id+"/nodes", "", "X-Perf-Account", other).Want(t, 404, fault.NotFound)
}
