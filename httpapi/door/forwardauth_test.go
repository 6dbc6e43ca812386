package door

import (
	"net/netip"
	"testing"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// Only the configured peers may ask; to all others the path is one like any other.
func TestWhoMayAsk(t *testing.T) {
	d := NewForwardAuth(nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")})
	for _, c := range []struct {
		method, path, remote string
		want                 bool
	}{
		{"GET", "/forward-auth", "10.1.2.3:4", true},
		{"POST", "/forward-auth", "[::ffff:10.1.2.3]:4", true},
		{"GET", "/forward-auth", "[2001:db8::1]:4", true},
		{"GET", "/forward-auth", "11.1.2.3:4", false},
		{"GET", "/forward-auth", "127.0.0.1:4", false},
		{"GET", "/forward-auth", "@", false},
		{"PUT", "/forward-auth", "10.1.2.3:4", false},
		{"GET", "/forward-auth/", "10.1.2.3:4", false},
		{"GET", "/Forward-auth", "10.1.2.3:4", false},
	} {
		if got := d.Takes(&h1.Request{Method: c.method, Path: c.path, Remote: c.remote}); got != c.want {
			t.Errorf("%s %s from %s: %v", c.method, c.path, c.remote, got)
		}
	}
	if NewForwardAuth(nil, nil).Takes(&h1.Request{Method: "GET", Path: Path, Remote: "127.0.0.1:4"}) {
		t.Error("without a configured peer, somebody may ask")
	}
}

// What the client could have written itself is refused: a header twice, or none.
func TestOriginal(t *testing.T) {
	for _, c := range []struct {
		name  string
		nginx bool
		lines [][2]string
		ok    bool
	}{
		{"Traefik", false, [][2]string{{"X-Forwarded-Method", "GET"}, {"X-Forwarded-Uri", "/a"}, {"X-Forwarded-Host", "h"}, {"X-Forwarded-For", "192.0.2.1"}}, true},
		{"two lines of the way", false, [][2]string{{"X-Forwarded-Method", "GET"}, {"X-Forwarded-Uri", "/a"}, {"X-Forwarded-Host", "h"}, {"X-Forwarded-For", "192.0.2.9"}, {"X-Forwarded-For", "192.0.2.1"}}, true},
		{"two URIs", false, [][2]string{{"X-Forwarded-Method", "GET"}, {"X-Forwarded-Uri", "/a"}, {"X-Forwarded-Uri", "/b"}, {"X-Forwarded-Host", "h"}, {"X-Forwarded-For", "192.0.2.1"}}, false},
		{"a URI that is none", false, [][2]string{{"X-Forwarded-Method", "GET"}, {"X-Forwarded-Uri", "/a b"}, {"X-Forwarded-Host", "h"}, {"X-Forwarded-For", "192.0.2.1"}}, false},
		{"nginx", true, [][2]string{{"X-Original-Method", "GET"}, {"X-Original-Uri", "/a"}, {"X-Forwarded-For", "192.0.2.1"}}, true},
		{"nginx, of Traefik's", true, [][2]string{{"X-Forwarded-Method", "GET"}, {"X-Forwarded-Uri", "/a"}, {"X-Forwarded-For", "192.0.2.1"}}, false},
	} {
		r := &h1.Request{Method: "GET", Path: Path, Host: "h", Remote: "127.0.0.1:1"}
		for _, l := range c.lines {
			r.Fields.Add(l[0], l[1])
		}
		of, f := original(r, c.nginx)
		if (f == nil) != c.ok || f == nil && (of.Method != "GET" || of.Path != "/a" || of.Host != "h" || of.Remote != "192.0.2.1:0") {
			t.Errorf("%s: %+v, %v", c.name, of, f)
		}
	}
}

// Every answer has the request's id, also one to a question that cannot be understood.
func TestRequestIDOfFaults(t *testing.T) {
	d := NewForwardAuth(nil, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	for _, query := range []string{"", "nginx=1"} {
		r := &h1.Request{Method: "GET", Path: Path, Host: "h", Remote: "127.0.0.1:1", Query: query}
		r.Fields.Add("X-Request-Id", "mine-1")
		if a := d.answer(t.Context(), r); a.Fields.Get("X-Request-Id") != "mine-1" {
			t.Errorf("%q: %d with %v", query, a.Status, a.Fields.Header())
		}
	}
}
