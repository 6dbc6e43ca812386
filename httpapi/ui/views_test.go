package ui_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// logged are the events of the account's audit log by id, as "action outcome", with the path of a page.
func (g *rig) logged(account string) map[string]string {
	g.t.Helper()
	lines := map[string]string{}
	apitest.Must(g.t, g.Local.Flush())
	for _, e := range g.Op("GET", "/v1/audit-logs", "", "X-Perf-Account", account).Want(g.t, 200).JSON["data"].([]any) {
		event := e.(map[string]any)
		path := ""
		if r, ok := event["request"].(map[string]any); ok && event["action"] == "page.view" {
			path, _ = r["path"].(string)
		}
		lines[fmt.Sprint(event["id"])] = strings.TrimSpace(fmt.Sprint(event["action"], " ", event["outcome"], " ", path))
	}
	return lines
}

// TestViewsAreAudited: a page is one event that names the page, whatever number of calls it
// is made of, in the log of the account that was looked at. Changes, exports and refusals
// have events of their own.
func TestViewsAreAudited(t *testing.T) {
	g := newRig(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	id, _ := g.Key("live", "read")
	dev := g.as("developer")
	since := func(account string, do func()) string {
		before := g.logged(account)
		do()
		var fresh []string
		for id, line := range g.logged(account) {
			if _, old := before[id]; !old && line != "audit.read success" { // the look at the log itself
				fresh = append(fresh, line)
			}
		}
		return strings.Join(fresh, "; ")
	}
	for _, c := range []struct {
		account string
		do      func()
		want    string
	}{
		{"default", func() { g.get("/").want(200) }, "page.view success /"},
		{"default", func() { g.get("/keys/" + id).want(200) }, "page.view success /keys/" + id},
		{"default", func() { dev.get("/keys/" + id).want(200) }, "page.view success /keys/" + id},
		{"default", func() { dev.get("/audit").want(403) }, "audit.read denied"},
		{acct, func() { g.get("/keys?account=" + acct).want(200) }, "page.view success /keys"},
		{"default", func() { g.get("/audit/export?format=csv").want(200) }, ""}, // audit.read, which this test leaves out
		{"default", func() { g.post("/keys/"+id+"/state", url.Values{"state": {"disabled"}}).want(303) }, "key.update success"},
	} {
		if got := since(c.account, c.do); got != c.want {
			t.Errorf("in the log of %s stands %q, want %q", c.account, got, c.want)
		}
	}
	if raw := g.get("/keys/pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"); raw.status != 404 && raw.status != 422 && raw.status != 500 {
		t.Errorf("a key in the URL: status %d", raw.status)
	}
	if all := fmt.Sprint(g.logged("default")); strings.Contains(all, "0123456789ABCDEFGHIJKLMNOPQRSTUV") {
		t.Error("a key that was pasted into the URL is in the audit log")
	}
}

// TestViewsAreCharged: a page is one call of its viewer, so that somebody who looks through
// many keys is not refused, and somebody who never stops is.
func TestViewsAreCharged(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read")
	viewer := g.as("viewer")
	n := 0
	for ; n < 400; n++ {
		if p := viewer.get("/keys/" + id); p.status != 200 {
			p.want(429).says("You have exceeded your rate limit")
			break
		}
	}
	if n < 295 || n > 300 {
		t.Fatalf("%d pages were shown within the same second", n)
	}
}
