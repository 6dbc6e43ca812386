package ui_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestAllowlistTrial saves a list on trial, keeps it, and reverts another one.
func TestAllowlistTrial(t *testing.T) {
	g := newRig(t)
	const at = "/security/allowlist"
	list := func() string { return fmt.Sprint(g.Op("GET", "/v1/allowlist", "").JSON["entries"]) }
	form := func(entries string) url.Values {
		return url.Values{"etag": {g.get(at).field("etag")}, "entries": {entries}, "trial": {"1"}}
	}
	if p := g.get(at).want(200); len(p.all("div", "trial")) != 0 || !strings.Contains(p.raw, `name="trial" value="1" checked`) {
		t.Fatal("without a trial there is one, or the box is not ticked")
	}
	g.post(at, form("127.0.0.1\n198.51.100.7\n")).want(303)
	p := g.get(at).want(200).says("comes back in", "Keep this list", "Revert now")
	for n := range p.root.Descendants() {
		if until := attr(n, "data-until"); until != "" {
			if left := textOf(n); left != "5:00" && !strings.HasPrefix(left, "4:5") {
				t.Errorf("%s are left until %s", left, until)
			}
		}
	}
	viewer := g.as("viewer")
	if p := viewer.get(at).want(200).says("comes back in"); strings.Contains(p.text(), "Keep this list") {
		t.Error("a viewer may keep the list")
	}
	viewer.post(at+"/trial", url.Values{"do": {"keep"}}).want(403)
	g.post(at+"/trial", url.Values{"do": {"keep"}, "etag": {`"1"`}}).want(412).says("has changed since it was read")
	g.post(at+"/trial", url.Values{"do": {"keep"}, "etag": {g.get(at).field("etag")}}).want(303)
	g.get(at + "?saved=kept").want(200).says("The list stays")
	if p := g.get(at); len(p.all("div", "trial")) != 0 || !strings.Contains(list(), "198.51.100.7") {
		t.Errorf("after it was kept, the list is %s", list())
	}
	g.post(at+"/trial", url.Values{"do": {"keep"}, "etag": {g.get(at).field("etag")}}).want(409).says("No change of the allowlist waits")

	g.post(at, form("127.0.0.1\n")).want(303)
	g.post(at+"/trial", url.Values{"do": {"revert"}, "etag": {g.get(at).field("etag")}}).want(303)
	if !strings.Contains(list(), "198.51.100.7") {
		t.Errorf("after it was reverted, the list is %s", list())
	}
	last := g.Op("GET", "/v1/audit-logs?action=allowlist.revert", "").Want(t, 200).JSON["data"].([]any)
	if len(last) != 1 {
		t.Errorf("the audit log has %v", last)
	}
	g.Backend.Partial = true
	g.post(at, form("127.0.0.1\n")).want(200).says("not every node has confirmed it", "comes back in")

	g.facts.Trials = false // a node of the cluster is older
	if p := g.get(at).want(200).says("a node of the cluster has an older version"); strings.Contains(p.raw, `name="trial"`) {
		t.Error("a trial is offered that would be refused")
	}
}
