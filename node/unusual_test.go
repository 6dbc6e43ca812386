package node

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A storm of wrong keys is among the security events, and still there after a restart.
func TestUnusualRequests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startLone(t, dir)
	for i := range 120 {
		if status, _ := n.get(t, n.proxyListener, "/hello", fmt.Sprint("pk_live_wrong", i)); status != 401 && status != 429 {
			t.Fatal(status)
		}
	}
	events := func() (kinds []string, failed int) {
		var doc struct {
			Anomalies []struct{ Kind, Subject string }
			Failed    struct{ Requests int } `json:"failed_authentications"`
		}
		_, body := n.get(t, n.adminListener, "/v1/security/events", n.token(t))
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		for _, a := range doc.Anomalies {
			kinds = append(kinds, a.Kind+" "+a.Subject)
		}
		return kinds, doc.Failed.Requests
	}
	check := func(when string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			kinds, failed := events()
			if strings.Join(kinds, ",") == "auth_failures 127.0.0.1" && failed == 120 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q, %d failed", when, kinds, failed)
			}
		}
	}
	check("at once")
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = startLone(t, dir)
	check("after a restart")
}
