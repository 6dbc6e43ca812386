package admit

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// No text of a fault shows a key, and other faults are written as they are.
func TestWriteFault(t *testing.T) {
	key := apikey.New(apikey.LivePrefix)
	for _, accept := range []string{"application/json", "application/problem+json"} {
		for name, f := range map[string]*fault.Error{
			"message": fault.Newf(fault.InvalidRequest, "The value %q is wrong.", "x"+key+"y"),
			"scope":   {Code: fault.InsufficientScope, Scope: "read " + key},
			"methods": {Code: fault.MethodNotAllowed, Allow: "GET, " + key},
			"param":   {Code: fault.InvalidValue, Param: "/" + key},
			"errors":  {Code: fault.InvalidValue, Errors: []fault.Detail{{Param: "/a", Message: "fine"}, {Param: "/" + key, Message: key + " is wrong"}}},
			"nothing": fault.Newf(fault.InvalidRequest, "The value %q is wrong.", "z"),
		} {
			before := *f
			before.Errors = slices.Clone(f.Errors)
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept", accept)
			WriteFault(w, r, f)
			text := w.Body.String()
			for name, values := range w.Header() {
				text += name + strings.Join(values, "")
			}
			if strings.Contains(text, key) || w.Code != f.Code.Status() || f.Message != before.Message || len(f.Errors) > 0 && f.Errors[0].Message != before.Errors[0].Message {
				t.Errorf("%s, %s: %d %s", name, accept, w.Code, text)
			}
			if shown := strings.Contains(text, apikey.Mask(key)[:12]); shown != (name != "nothing") {
				t.Errorf("%s, %s: the beginning of the key's hint is shown: %v", name, accept, shown)
			}
		}
	}
}
