package store

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

// The event of a change has what its command knows of the request, with a chain and without,
// and after a restart. The hash covers it.
func TestRequestsOfChanges(t *testing.T) {
	h := begun(t)
	full := CommandRequest{
		RequestInfo: RequestInfo{ID: "req_1", Method: "PATCH", Route: "/v1/accounts/{id}"},
		Path:        "/v1/accounts/default", StartedAt: epoch.Add(-time.Second),
	}
	requests := map[string]CommandRequest{"full": full, "of before": full.Until(LevelOfPaths - 1), "none": {}}
	change := func(suffix string) {
		for name, r := range requests {
			h.must(&Command{Request: r, Change: &AccountUpdate{Name: ptr(name + suffix)}})
		}
	}
	change("")
	h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
	change(", chained")
	h.reopen()
	seen, enc := 0, chain.NewEncoder()
	for e, err := range h.Events(EventQuery{Account: DefaultAccount, Action: "account.update"}) {
		if err != nil {
			t.Fatal(err)
		}
		var got CommandRequest
		if r := e.Request; r != nil {
			got = CommandRequest{r.RequestInfo, r.Path, r.StartedAt}
		}
		known := false
		for name, want := range requests {
			if text := string(e.Changes); strings.Contains(text, `"after":{"name":"`+name) {
				known = true
				if got != want {
					t.Errorf("%s: the event has %+v, want %+v", text, got, want)
				}
			}
		}
		if !known {
			t.Errorf("an event of %s", e.Changes)
		}
		if e.Hash != "" && e.Hash != e.Leaf(enc).Hex() {
			t.Errorf("%s: the hash is of other texts", e.Changes)
		}
		seen++
	}
	if seen != 6 {
		t.Errorf("%d events", seen)
	}
}
