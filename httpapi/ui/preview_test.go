package ui_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi"
)

// TestPreview shows what a key would open before it is made: of the form as it begins, and of
// what was chosen, and the limit rules that would count it.
func TestPreview(t *testing.T) {
	g := newRig(t)
	g.get("/keys/new").want(200).says("No route leads to an upstream yet")
	g.opens = []httpapi.Opening{
		{Route: "/v1/<b>chat", Host: "*.example.com", Require: []string{"chat"}, Refused: []string{"GET", "PURGE"}, Missing: []string{"chat"}},
		{Route: "/v1/files", Open: []string{"GET", "HEAD"}, Only: []string{"/v1/files/own"}, Require: []string{"chat", "files"}},
		{Route: "/v1/else", Refused: []string{"GET"}, Barred: true},
		{Route: "/", Public: true, Open: []string{"GET", "POST"}},
	}
	g.Op("PATCH", "/v1/accounts/default", `{"tier":"enterprise","limit_rules":[
		{"name":"of-ci","match":{"environment":"ci"},"per":"key","requests":5,"window":"1h"},
		{"name":"of-live","match":{"type":"live"},"per":"account","requests":6000,"window":"1m","shadow":true},
		{"name":"of-files","match":{"route":"/v1/files"},"per":"account","requests":7,"window":"1m"},
		{"name":"of-chat","match":{"route":"/v1/<b>chat"},"per":"account","requests":8,"window":"1m"}]}`).Want(t, 200)
	cells := func(p *shown) (rows []string) {
		for _, table := range p.all("table", "opens") {
			for n := range table.Descendants() {
				if n.Data == "tr" {
					rows = append(rows, textOf(n))
				}
			}
		}
		return rows
	}
	p := g.get("/keys/new").want(200).says("It opens 2 of 4 routes.", "of-files : 7 per 1m and account", "required by *.example.com/v1/<b>chat …", "required by /v1/files")
	want := []string{
		"Route GET HEAD POST PURGE",
		"*.example.com/v1/<b>chat needs chat ✕ no not taken by the route not taken by the route ✕ no",
		"/v1/files only /v1/files/own ◐ in part ◐ in part not taken by the route not taken by the route",
		"/v1/else not among the key's routes ✕ no not taken by the route not taken by the route not taken by the route",
		"/ open without a key ✓ yes not taken by the route ✓ yes not taken by the route",
	}
	for i, row := range cells(p) {
		if i >= len(want) || row != want[i] {
			t.Errorf("row %d is %q, want %q", i, row, want[min(i, len(want)-1)])
		}
	}
	if text := p.text(); strings.Contains(text, "No scope is chosen") || strings.Contains(text, "of-ci") || strings.Contains(text, "of-live") || strings.Contains(text, "of-chat :") {
		t.Error("a rule that does not count the key is shown")
	}
	fields := url.Values{
		"preview": {"1"}, "name": {"kept"}, "type": {"live"}, "environment": {"ci"}, "scopes": {"read", "chat"}, "other_scopes": {"own"},
		"routes": {"/v1/files/own\n/nowhere\n"}, "requests_per_minute": {"not a number yet"},
	}
	p = g.post("/keys/new", fields).want(200).says("No request meets /nowhere : check the spelling.", "of-ci : 5 per 1h and key", "of-live : 6,000 per 1m and account, shadow", "GET, HEAD and OPTIONS on proxied routes")
	if p.field("name") != "kept" || strings.Contains(p.text(), "whole number") {
		t.Error("the form is not as it was, or a preview complains")
	}
	g.opens = nil
	if g.post("/keys/new", fields); strings.Join(g.asked[0], " ") != "" {
		t.Errorf("the routes were asked with %v at last", g.asked)
	}
	fields.Del("routes")
	fields.Del("scopes")
	fields.Del("other_scopes")
	g.post("/keys/new", fields).want(200).says("No scope is chosen: choose at least one.", "No route leads")
	if len(g.asked[0]) != 0 {
		t.Errorf("without a scope the routes were asked with %v", g.asked)
	}
	fields.Del("preview")
	if p := g.post("/keys/new", fields).want(422).says("choose at least one"); p.field("name") != "kept" {
		t.Error("a form without a scope is not shown again as it was")
	}
	g.get("/keys").want(200).says("No keys yet")
	g.as("developer").get("/keys/new").want(200).says("What the key may do")
}
