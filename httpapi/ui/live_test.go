package ui_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
)

// follow asks for a page as an EventSource does, and returns a function that waits for the
// next event with a text.
func (g *rig) follow(path string) (status int, await func(want string)) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute) // many ticks, on a loaded machine too
	r, err := http.NewRequestWithContext(ctx, "GET", g.pages.URL+path, nil)
	apitest.Must(g.t, err)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Cookie", g.cookie)
	resp, err := http.DefaultTransport.RoundTrip(r)
	apitest.Must(g.t, err)
	g.t.Cleanup(func() { cancel(); resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return resp.StatusCode, func(want string) {
		g.t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		g.t.Fatalf("%s ended without %q: %v", path, want, lines.Err())
	}
}

// TestLive: the page of a new key says when the first request arrives, and what is followed
// is one view of the page. It ends with the session.
func TestLive(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("test", "read")
	path := "/keys/" + id + "/first"
	status, await := g.follow(path)
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	await("Waiting for the first request")
	g.observe(id, 1, 1, nil)
	await("The key works")
	views := 0
	for _, line := range g.logged("default") {
		if line == "page.view success "+path {
			views++
		}
	}
	if views != 1 {
		t.Fatalf("%d events for one page that is followed", views)
	}
	if strings.Contains(g.get("/audit").want(200).raw, "data-live") || !strings.Contains(g.get("/audit?live=1").want(200).says("Live: pause").raw, "data-live") {
		t.Fatal("the log is followed unasked, or not when asked")
	}
	_, audit := g.follow("/audit?live=1&action=key.create")
	fresh, _ := g.Key("test", "read")
	audit("/keys/" + fresh)
	g.post("/signout", nil).want(303)
	await("event: end")

	g.signIn()
	if status, _ := g.follow("/tokens"); status != 404 {
		t.Fatalf("a page without a part that changes: status %d", status)
	}
	g.cookie = "x=y"
	if status, _ := g.follow("/cluster"); status != 401 {
		t.Fatalf("without a session: status %d", status)
	}
}

// A page that is left open does not keep its session from ending: nobody acts.
func TestOpenPageLetsTheSessionEnd(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("test", "read")
	status, await := g.follow("/keys/" + id + "/first")
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	await("Waiting for the first request")
	g.Now.Add(int64(20 * time.Minute))
	g.observe(id, 1, 1, nil)
	await("The key works") // a look after 20 minutes
	g.Now.Add(int64(15 * time.Minute))
	await("event: end")
}

// One account cannot take the places of all pages that are followed.
func TestFollowedPagesOfOneAccount(t *testing.T) {
	g := newRig(t)
	other := g.Op("POST", "/v1/accounts", `{"name":"Other"}`).Want(t, 201).Text("id")
	for n := range 8 {
		if status, _ := g.follow("/audit?live=1"); status != 200 {
			t.Fatalf("page %d: status %d", n, status)
		}
	}
	if status, _ := g.follow("/audit?live=1"); status != 503 {
		t.Errorf("one page too many: status %d", status)
	}
	if status, _ := g.follow("/audit?live=1&account=" + other); status != 200 {
		t.Errorf("a page of another account: status %d", status)
	}
}
