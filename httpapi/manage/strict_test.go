package manage_test

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Values that programs would read in two ways are refused.
func TestAmbiguousValues(t *testing.T) {
	g := apitest.New(t)
	for _, body := range []string{
		`{"name":"n","type":"test","metadata":{"a":"\u0000"}}`,
		`{"name":"n","type":"test","metadata":{"a":"\u001b[31m"}}`,
		`{"name":"n","type":"test","metadata":{"a":"\u009b"}}`,
		`{"name":"n","type":"test","scopes":["read,write"]}`,
	} {
		g.Op("POST", "/v1/keys", body).Want(t, 422, fault.InvalidValue)
	}
	g.Op("POST", "/v1/keys", `{"name":"n","type":"test","metadata":{"a":"two\n\tlines"}}`).Want(t, 201)
	for _, path := range []string{"/v1/keys", "/v1/accounts", "/v1/audit-logs"} {
		for _, limit := range []string{"%2B5", "-5", "0x5", "05.0", ""} {
			g.Op("GET", path+"?limit="+limit, "").Want(t, 422, fault.InvalidValue)
		}
	}
}
