package manage_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// The calls that read everything of an account share its places: with those taken,
// each waits, and pages of a list do not.
func TestExportsAreBounded(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	keys := manage.Keys{Store: g.Store, Uses: g.Observed()}
	usage := manage.Usage{Observed: g.Observed()}
	audit := manage.Audit{Log: g.AuditLog()}
	serve := func(ctx context.Context, id string, h rest.Handler, query string) int {
		r := httptest.NewRequest("GET", "/x"+query, nil).WithContext(ctx)
		r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
		w := httptest.NewRecorder()
		f.Serve(w, r, &rest.Route{ID: id, Method: "GET", Path: "/x", Query: parameters(r), Serve: h}, "", true)
		return w.Code
	}
	held, release := make(chan error), make(chan struct{})
	for range 2 {
		go serve(t.Context(), "holds", func(c *rest.Call) error {
			held <- c.Export()
			<-release
			return nil
		}, "")
		if err := <-held; err != nil {
			t.Fatal(err)
		}
	}
	calls := []struct {
		id, query string
		h         rest.Handler
		export    bool
	}{
		{"audit", "", audit.Logs, true},
		{"audit as CSV", "?format=csv", audit.Logs, true},
		{"a page of audit", "?limit=10", audit.Logs, false},
		{"usage", "", rest.WithoutBody(usage.Read), true},
		{"sorted keys", "?sort=name", rest.WithoutBody(keys.List), true},
		{"keys that are due", "?due=1d", rest.WithoutBody(keys.List), true},
		{"keys by a part of the name", "?q=x", rest.WithoutBody(keys.List), true},
		{"a page of keys", "", rest.WithoutBody(keys.List), false},
	}
	for _, c := range calls {
		limit, want := time.Minute, http.StatusOK
		if c.export { // waits for a place until its context ends
			limit, want = 50*time.Millisecond, http.StatusServiceUnavailable
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if status := serve(ctx, c.id, c.h, c.query); status != want {
			t.Errorf("%s with no place left: %d, want %d", c.id, status, want)
		}
		cancel()
	}
	close(release)
	for _, c := range calls {
		if status := serve(t.Context(), c.id, c.h, c.query); status != http.StatusOK {
			t.Errorf("%s with places: %d", c.id, status)
		}
	}
}
