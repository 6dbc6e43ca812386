package node

import (
	"encoding/json"
	"fmt"
	"net/http"
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

// A burst of refusals of one key raises one alert.
func TestUnusualRequestsRaiseAnAlert(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir(), "--demo")
	var made struct{ Key, ID string }
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+n.adminListener.server.Addr().String()+"/v1/keys", strings.NewReader(`{"name":"r","type":"live","scopes":["verify"]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token(t))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	for range 120 {
		if status, body := n.get(t, n.proxyListener, "/hello", made.Key); status != 403 {
			t.Fatal(status, body)
		}
	}
	var events string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		_, events = n.get(t, n.adminListener, "/v1/audit-logs?action=alert.raise&key="+made.ID, n.token(t))
		if strings.Contains(events, "key.anomaly:fnd_") {
			if c := strings.Count(events, "key.anomaly:fnd_"); c != 1 {
				t.Errorf("%d alerts: %s", c, events)
			}
			return
		}
	}
	t.Errorf("no alert: %s", events)
}
