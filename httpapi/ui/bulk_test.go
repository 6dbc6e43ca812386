package ui_test

import (
	"net/url"
	"strings"
	"testing"
)

// TestBulk disables and revokes several keys at once, after a count.
func TestBulk(t *testing.T) {
	g := newRig(t)
	a, first := g.Key("live", "read")
	b, second := g.Key("live", "read")
	c, third := g.Key("test", "read")
	accepted := func(key string, want int) {
		t.Helper()
		g.Do(g.Admin.URL, "GET", "/v1/limits", key, "").Want(t, want)
	}
	list := g.get("/keys").want(200)
	boxes := 0
	for _, n := range list.all("input", "") {
		if attr(n, "name") == "ids" && attr(n, "form") == "bulk" {
			boxes++
		}
	}
	if boxes != 3 {
		t.Fatalf("%d keys can be ticked", boxes)
	}
	g.post("/keys/bulk", url.Values{"do": {"revoke"}}).want(422).says("tick the keys")
	g.post("/keys/bulk", url.Values{"do": {"sell"}, "ids": {a}}).want(422)
	ask := g.post("/keys/bulk", url.Values{"do": {"revoke"}, "ids": {a, b}}).want(200).says("2 of 2 are accepted now", "cannot be undone")
	accepted(first, 200)
	form := ask.values("/keys/bulk")
	if len(form["ids"]) != 2 {
		t.Fatalf("the form is %v", form)
	}
	g.post("/keys/bulk", with(form, "count", "3")).want(422).says("type the number of keys to confirm: 2")
	accepted(first, 200)
	g.post("/keys/bulk", with(form, "count", "2", "reason", evil)).want(200).says("2 keys are revoked", "No node accepts them any more", "n1: applied")
	accepted(first, 401)
	accepted(second, 401)
	accepted(third, 200)
	if p := g.get("/keys/" + a).want(200).says(evil); p.links("/keys/" + a + "/revoke") {
		t.Fatal("the key can be revoked again")
	}

	off := g.post("/keys/bulk", url.Values{"do": {"disable"}, "ids": {c}}).want(200).says("can be enabled again").values("/keys/bulk")
	g.post("/keys/bulk", with(off, "count", "1")).want(200).says("The keys are disabled on every node")
	accepted(third, 401)
	if dev := g.as("developer"); strings.Contains(dev.get("/keys").want(200).raw, `name="ids"`) {
		t.Fatal("a developer is offered to change the keys of others")
	} else {
		dev.post("/keys/bulk", with(form, "count", "2")).want(403)
	}
}

// TestSparkAndPace: the list has the requests of a week, and usage the pace of the month.
func TestSparkAndPace(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read")
	if p := g.get("/keys").want(200); len(p.all("svg", "spark")) != 0 {
		t.Fatal("a key without requests has a chart")
	}
	g.observe(id, 3, 5, nil)
	if p := g.get("/keys").want(200); len(p.all("svg", "spark")) != 1 || !strings.Contains(p.raw, "15 requests in 7 days, 0 of them denied") {
		t.Fatal("the list does not show the requests of a week")
	}
	p := g.get("/usage?group_by=country").want(200)
	if bars := p.all("svg", "under-bar"); len(bars) != 1 {
		t.Fatalf("%d bars for one group", len(bars))
	}
}
