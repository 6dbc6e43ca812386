package ui_test

import (
	"net/url"
	"strings"
	"testing"
)

// TestWebhooks adds an endpoint, looks at its deliveries, rotates its secret and deletes
// it.
func TestWebhooks(t *testing.T) {
	g := newRig(t)
	g.get("/webhooks").want(200).says("No endpoints yet")
	g.post("/webhooks/new", url.Values{"url": {"not a URL"}, "once": {"0"}}).want(422).says("url")
	every := url.Values{"url": {"https://hooks.example.com/all"}, "once": {"1"}}
	for _, box := range g.get("/webhooks/new").want(200).all("input", "") {
		if attr(box, "name") == "events" {
			every.Add("events", attr(box, "value"))
		}
	}
	if g.post("/webhooks/new", every).want(200); len(every["events"]) < 10 {
		t.Fatalf("the form offers %q", every["events"])
	}
	for _, a := range g.get("/webhooks").want(200).all("td", "name") {
		g.post(attr(a.FirstChild, "href"), url.Values{"do": {"delete"}}).want(303)
	}
	made := g.post("/webhooks/new", url.Values{"url": {"https://hooks.example.com/a"}, "events": {"key.created", "key.revoked"}, "once": {"2"}})
	secret := made.want(200).field("secret")
	if !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("the secret is %q", secret)
	}
	list := g.get("/webhooks").want(200).says("https://hooks.example.com/", "enabled", "key.created", "key.revoked")
	if strings.Contains(list.raw, secret) {
		t.Fatal("the secret is shown again")
	}
	at := attr(list.all("td", "name")[0].FirstChild, "href")
	g.Key("test", "read")
	p := g.get(at).want(200).says("Deliveries", "key.created", "pending", "test key")
	if len(p.all("li", "denied")) != 1 {
		t.Fatal("the delivery is not there")
	}
	g.get(at + "?state=delivered").want(200).says("No deliveries")
	g.post(at, url.Values{"do": {"replay"}, "since": {"yesterday"}, "once": {"r0"}}).want(422).says("choose a date and a time")
	sent := g.post(at, url.Values{"do": {"replay"}, "since": {"2020-01-31T15:00:30"}, "once": {"r1"}}).want(303)
	g.get(sent.header.Get("Location")).want(200).says("Deliveries that are sent again: 0.") // the one is still pending
	g.post(at, url.Values{"do": {"disable"}}).want(303)
	g.get(at).want(200).says("State disabled", "Enable")
	if next := g.post(at, url.Values{"do": {"rotate"}, "overlap": {"24h"}, "once": {"3"}}).want(200).field("secret"); next == secret {
		t.Fatal("the secret is the same")
	}
	g.get(at).want(200).says("The old secret signs too")
	if viewer := g.as("viewer"); strings.Contains(viewer.get(at).want(200).text(), "Delete the endpoint") {
		t.Fatal("a viewer is offered to delete it")
	}
	g.post(at, url.Values{"do": {"delete"}}).want(303)
	g.get("/webhooks").says("No endpoints yet")
}
