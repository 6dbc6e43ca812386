package ui_test

import (
	"strings"
	"testing"
)

// TestFaultsBehindLinks: where a link leads to an answer of the API, a browser gets a page if the
// call fails, with the status, the request id and what to do, and never a file or JSON.
func TestFaultsBehindLinks(t *testing.T) {
	g := newRig(t)
	of := g.as("owner") // operators have no bound
	for range 300 {     // a minute; the clock stands still
		of.get("/keys").want(200)
	}
	p := of.get("/audit/export?format=csv").want(429).says("You have exceeded your rate limit", "Request req_", "Go to the overview")
	if h := p.header; h.Get("Content-Disposition") != "" || h.Get("Retry-After") == "" || h.Get("Referrer-Policy") != "same-origin" || !strings.Contains(p.text(), h.Get("X-Request-Id")) {
		t.Errorf("the page has %v", h)
	}
	of.get("/keys").want(429).says("You have exceeded your rate limit", "Request req_")
	for _, accept := range []string{"text/html", "*/*"} {
		p := g.get("/signin/oidc", "Accept", accept).want(404).says("No provider is configured")
		if page := p.root != nil; page != (accept == "text/html") || strings.Contains(p.header.Get("Content-Type"), "json") == page {
			t.Errorf("as %s: %v", accept, p.header)
		}
		if p.root != nil && !strings.Contains(p.text(), p.header.Get("X-Request-Id")) {
			t.Error("the page names another request")
		}
	}
}
