package ui_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// TestOrigin: a form that another site sends changes nothing.
func TestOrigin(t *testing.T) {
	g := newRig(t)
	form := url.Values{"name": {"x"}, "type": {"test"}, "scopes": {"read"}, "once": {"o"}}
	for _, header := range [][]string{nil, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", g.pages.URL + ".evil.example"}} {
		g.send("POST", "/keys/new", form, header...).want(403).says("not sent by a page of this dashboard")
	}
	g.get("/keys").want(200).says("No keys yet")
	g.post("/keys/new", form).want(200)
}

// TestHosts: a name that somebody pointed at this address gets no page.
func TestHosts(t *testing.T) {
	g := newRig(t)
	for host, status := range map[string]int{
		"localhost:8081": 200, "127.0.0.1": 200, "[::1]:8081": 200, "192.0.2.7:8081": 200, "gate.example.com": 200, "GATE.example.com:443": 200,
		"evil.example": 421, "gate.example.com.evil.example": 421, "localhost.evil.example": 421,
	} {
		if p := g.get("/keys", "Host", host); p.status != status {
			t.Errorf("%s: status %d, want %d", host, p.status, status)
		}
	}
}

// TestSignedOut: without a session there is only the way to sign in, and back.
func TestSignedOut(t *testing.T) {
	g := newRig(t)
	g.cookie = "x=y"
	p := g.get("/keys?type=live").want(303)
	if to := p.header.Get("Location"); to != "/signin?next=%2Fkeys%3Ftype%3Dlive" {
		t.Fatalf("it leads to %q", to)
	}
	in := g.get(p.header.Get("Location")).want(200).says("Sign in to perfgate", "Operator token")
	if in.links("/keys") {
		t.Fatal("the navigation is there")
	}
}

// TestUnknownPaths: programs get the API's answer in JSON, browsers a page.
func TestUnknownPaths(t *testing.T) {
	g := newRig(t)
	g.get("/nothing").want(404).says("There is no such page")
	for _, c := range []struct{ path, accept string }{{"/nothing", "*/*"}, {"/nothing", "application/json"}, {"/v1/nothing", "text/html"}, {"/keys/../keys", "text/html"}, {"/assets/none/ui.css", "*/*"}} {
		p := g.get(c.path, "Accept", c.accept).want(404)
		if ct := p.header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s as %s: %s", c.path, c.accept, ct)
		}
	}
}

var imported = regexp.MustCompile(`from "\./([^"]+)"`)

// TestAssets follows every file that a page loads, and holds the first page to its size.
func TestAssets(t *testing.T) {
	g := newRig(t)
	p := g.get("/keys").want(200)
	total, queue, seen := len(p.raw), []string{}, map[string]bool{}
	for _, tag := range []string{"link", "script", "img"} {
		for _, n := range p.all(tag, "") {
			queue = append(queue, attr(n, "href")+attr(n, "src"))
		}
	}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		resp, err := http.Get(g.pages.URL + path)
		apitest.Must(t, err)
		raw, err := io.ReadAll(resp.Body)
		apitest.Must(t, err)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		want := map[string]string{"css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}[path[len(path)-3:]]
		if ct := resp.Header.Get("Content-Type"); ct != want {
			t.Errorf("%s is %q", path, ct)
		}
		total += len(raw)
		for _, m := range imported.FindAllStringSubmatch(string(raw), -1) {
			queue = append(queue, path[:strings.LastIndexByte(path, '/')+1]+m[1])
		}
	}
	if len(seen) < 5 || total > 150_000 {
		t.Errorf("%d files, %d bytes in all", len(seen), total)
	}
}
