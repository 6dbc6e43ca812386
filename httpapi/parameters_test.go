package httpapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// The table of routes and openapi.yaml name the same parameters, and every call refuses
// others: a bulk revocation with ?dry_run=true must not revoke.
func TestParameters(t *testing.T) {
	g := apitest.New(t)
	for path, item := range g.Doc.Paths.Map() {
		for method, op := range item.Operations() {
			var described []string
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				if p.Value.In == "query" {
					described = append(described, p.Value.Name)
				}
			}
			rt := route(g, op.OperationID)
			known := slices.Sorted(slices.Values(rt.Query))
			if slices.Sort(described); !slices.Equal(known, described) {
				t.Errorf("%s %s: takes %v, described %v", method, path, known, described)
			}
		}
	}
	g.Unchecked = true // a thousand refusals of the same form
	names := []string{"dry_run", "chain", "overlap", "to", "Force", "fields"}
	for _, rt := range g.API.Routes() {
		names = append(names, rt.Query...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, rt := range g.API.Routes() {
		if !strings.HasPrefix(rt.Path, "/v1/") {
			continue
		}
		id, _ := g.Key("test", "read")
		path, body := sample(rt, id)
		for _, name := range names {
			if slices.Contains(rt.Query, name) {
				continue
			}
			a := g.Op(rt.Method, path+"?"+name+"=true", body)
			if a.Status != 422 || a.Code() != string(fault.UnknownField) || !strings.Contains(a.Message(), name) {
				t.Errorf("%s?%s=true: %d %s", rt.ID, name, a.Status, a.Body)
			}
		}
		if k := g.Op("GET", "/v1/keys/"+id, ""); k.Text("state") != "active" {
			t.Errorf("%s has changed the key: %s", rt.ID, k.Body)
		}
	}
	id, _ := g.Key("live", "read")
	g.Op("POST", "/v1/keys/revoke?dry_run=true", `{"type":"live"}`).Want(t, 422, fault.UnknownField)
	if k := g.Op("GET", "/v1/keys/"+id, ""); k.Text("state") != "active" {
		t.Errorf("a dry run in the query revoked: %s", k.Body)
	}
}

// A filter that is there and empty does not list everything.
func TestEmptyFilters(t *testing.T) {
	g := apitest.New(t)
	g.Key("test", "read")
	for _, rt := range g.API.Routes() {
		path, body := sample(rt, "key_1")
		if rt.IDs == "whk_" {
			path = webhookPath(g, rt)
		}
		for _, name := range rt.Query {
			if name == "cursor" || name == "environment" { // the first page; the keys without one
				g.Op(rt.Method, path+"?"+name+"=", body).Want(t, 200)
				continue
			}
			a := g.Op(rt.Method, path+"?"+name+"=", body).Want(t, 422, fault.InvalidValue)
			if !strings.Contains(a.Message(), name) {
				t.Errorf("%s: the fault of %s is %s", rt.ID, name, a.Message())
			}
		}
	}
}
