package e2e

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

type (
	reply  = harness.Reply
	header = harness.Header
)

var as = harness.As

// callTimeout bounds one HTTP call, on a loaded machine too.
const callTimeout = time.Minute

var client = harness.NewClient(callTimeout)

// do sends one request; body is as in [harness.Call].
func do(t testing.TB, method, url string, h header, body any) *reply {
	t.Helper()
	r, err := try(method, url, h, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return r
}

// try is do for goroutines that must not end the test.
func try(method, url string, h header, body any) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return harness.Call(ctx, client, method, url, h, body)
}

// waitFor polls until ok; event names the event.
func waitFor(t testing.TB, event string, ok func() bool) {
	t.Helper()
	harness.Await(t, startTimeout, event, func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

// manage makes a management call with the operator's token; its answer must have
// status.
func (s *server) manage(status int, method, path string, body any) *reply {
	s.t.Helper()
	r := do(s.t, method, s.admin+path, as(s.operator), body)
	if r.StatusCode != status {
		s.t.Fatalf("%s %s: %s, want %d\n%s\n%s", method, path, r.Status, status, r.Raw, s.Output())
	}
	return r
}

// create makes a key, live unless fields say otherwise, and returns it with its id.
func (s *server) create(fields map[string]any) (key, id string) {
	s.t.Helper()
	body := map[string]any{"name": "e2e", "type": "live"}
	maps.Copy(body, fields)
	if fields["allowlist"] != nil { // needs the feature, which the tier of a new installation lacks
		s.manage(200, "PATCH", "/v1/tiers/free", map[string]any{"features": map[string]any{"ip_allowlist": true}})
	}
	r := s.manage(http.StatusCreated, "POST", "/v1/keys", body)
	return r.Str("key"), r.Str("id")
}

// roomy gives the default account limits that no test reaches by accident.
func (s *server) roomy() {
	s.t.Helper()
	s.manage(200, "PATCH", "/v1/accounts/default", map[string]any{
		"tier": "enterprise", "limits": map[string]any{"requests_per_minute": 600_000, "requests_per_month": 10_000_000}})
}
