package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/pattern"
	"github.com/perfgate/perfgate/store"
)

// A path that is encoded twice would take another route here than at an upstream
// that decodes twice.
func TestDoubleEncodedPath(t *testing.T) {
	r := newRig(t, Settings{},
		Route{Path: "/", Upstreams: []string{backend(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("upstream saw %s", r.RequestURI) })}, Public: true},
		Route{Path: "/admin", Upstreams: []string{"http://127.0.0.1:1"}, Require: []string{"root"}})
	for _, path := range []string{
		"/%2561dmin", "/a%2564min", "/%25%36%31dmin", "/%252561dmin", "/%25252561dmin", "/%2561%2564%256d%2569%256e", "/admi%256E",
		"/x%252Dy", "/x%257Ey", "/x%255fy", "/x%2531", "/a%2520b", "/%25C3%25A4", "/x%253By", "/x%2540y",
	} {
		res := r.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := code(t, res); res.StatusCode != 400 || got != fault.InvalidRequest {
			t.Errorf("%s: status %d, code %s", path, res.StatusCode, got)
		}
	}
}

// A host that is none would miss the route of the host that an upstream reads
// from it.
func TestInvalidHost(t *testing.T) {
	seen := false
	up := backend(t, func(http.ResponseWriter, *http.Request) { seen = true })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Public: true},
		Route{Path: "/", Host: "h", Upstreams: []string{up}, Require: []string{"root"}})
	for host, want := range map[string]int{
		"h:80:80": 400, "h,evil": 400, "h%2e": 400, "h%2E": 400, "h.....": 400, "h..": 400, ".h": 400, "a..h": 400, "h:": 400, "h:x": 400, "h:99999": 400,
		"h:-1": 400, "h;evil": 400, "h@evil": 400, "u@h": 400, "h*": 400, "*": 400, "h!": 400, "h'": 400, "[h]": 400, "[::1": 400, "[::1]x": 400, "[::1]:": 400,
		"[127.0.0.1]": 400, "[fe80::1%25eth0]": 400, "::1": 400, ":80": 400, ".": 400, "h$": 400, "h&": 400, "(h)": 400, "h=": 400, "h~": 400,
		strings.Repeat("a", 64): 400, strings.Repeat("a.", 127) + "aa": 400, "h\xc3\xa4": 400,
		"x": 200, "X.Example:8080": 200, "x.": 200, "127.0.0.1": 200, "127.0.0.1:80": 200, "[::1]": 200, "[::1]:80": 200, "under_score.example": 200, "xn--4ca.example": 200,
		"": 400,
	} {
		for _, line := range []string{"GET / HTTP/1.1\r\nHost: " + host, "GET http://" + host + "/ HTTP/1.1\r\nHost: " + host} {
			seen = false
			res := r.raw(line + "\r\n\r\n")
			if res.StatusCode != want || seen != (want == 200) {
				t.Errorf("%q: status %d, upstream asked %v, want %d", line, res.StatusCode, seen, want)
			}
		}
	}
}

// Methods are case-sensitive: one that an upstream could fold to another reaches none.
func TestMethodCase(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Public: true})
	for method, want := range map[string]int{"get": 405, "Post": 405, "delete": 405, "options": 405, "trace": 405, "gets": 200, "FOO": 200, "foo": 200} {
		res := r.raw(method + " / HTTP/1.1\r\nHost: x\r\n\r\n")
		if res.StatusCode != want || want == 200 && text(t, res) != method || want == 405 && res.Header.Get("Allow") == "" {
			t.Errorf("%s: status %d, Allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
		if status := r.frames("", field{":method", method}); status != strconv.Itoa(want) {
			t.Errorf("%s over HTTP/2: status %s", method, status)
		}
	}
}

// escaped is s with every character percent-encoded.
func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// A key of perfgate's own form reaches no upstream, wherever it stands in the head
// or the target, on routes with and without keys.
func TestNoKeyReachesAnUpstream(t *testing.T) {
	key := apikey.New(apikey.LivePrefix)
	var seen string
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen = fmt.Sprint(r.Method, r.RequestURI, r.Host, r.Header, r.Trailer)
	})
	r := newRig(t, Settings{KeyHeader: "X-Api-Key", Trusted: loopback},
		Route{Path: "/", Upstreams: []string{up}, PreserveHost: true},
		Route{Path: "/open", Upstreams: []string{up}, PreserveHost: true, Public: true},
		Route{Path: "/pre", Upstreams: []string{up}, PreserveHost: true, Preflight: "pass"})
	twice := strings.ReplaceAll(escaped(key), "%", "%25")
	forms := []string{key, key + ",", "x" + key, key + "x", "Bearer%20" + key, "Bearer " + key, `"` + key + `"`, "a=1; t=" + key + "; b", escaped(key), twice,
		strings.Replace(key, "_", "%5F", 1), "https://h/?k=" + key}
	for _, path := range []string{"/x", "/open/x", "/pre/x"} {
		head := "GET %s HTTP/1.1\r\nHost: x\r\n" + cred
		if strings.HasPrefix(path, "/pre") {
			head = "OPTIONS %s HTTP/1.1\r\nHost: x\r\nOrigin: https://o.example\r\nAccess-Control-Request-Method: GET\r\n"
		}
		for _, form := range forms {
			for _, name := range []string{"Cookie", "Referer", "User-Agent", "X-Any", "X-Request-Id", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Proxy-Authorization", "Origin"} {
				seen = ""
				res := r.raw(fmt.Sprintf(head, path) + name + ": " + form + "\r\n\r\n")
				if seen == "" && res.StatusCode != 400 || held(seen, key) {
					t.Errorf("%s with %s: %s: status %d, upstream saw %q", path, name, form, res.StatusCode, seen)
				}
			}
			if strings.ContainsAny(form, ` "`) {
				continue
			}
			for _, target := range []string{path + "?a=" + form, path + "?" + form, path + "?a=b&" + form + "=c", path + "/" + form, path + "/" + form + "/y"} {
				seen = ""
				res := r.raw(fmt.Sprintf(head, target) + "\r\n")
				if res.StatusCode != 400 || seen != "" {
					t.Errorf("%s: status %d, upstream saw %q", target, res.StatusCode, seen)
				}
			}
		}
	}
	for _, send := range []string{
		key + " /open HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /open HTTP/1.1\r\nHost: " + key + "\r\n\r\n",
		"GET /open HTTP/1.1\r\nHost: " + key + ".example:80\r\n\r\n",
		"POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\nX-T: " + key + "\r\n\r\n",
		"GET /open HTTP/1.1\r\nHost: x\r\n" + key + ": 1\r\n\r\n",
	} {
		seen = ""
		if res := r.raw(send); held(seen, key) {
			t.Errorf("%q: status %d, upstream saw %q", send, res.StatusCode, seen)
		}
	}
	wrong := key[:len(key)-1] + "!"
	if r.raw("GET /open/x?a=" + wrong + " HTTP/1.1\r\nHost: x\r\nX-Any: " + wrong + "\r\n\r\n"); strings.Count(seen, wrong) != 2 {
		t.Errorf("something that is no key was dropped: %q", seen)
	}
}

func held(seen, key string) bool {
	for range 4 {
		if strings.Contains(strings.ToLower(seen), strings.ToLower(key)) {
			return true
		}
		seen = pattern.Unescape(seen)
	}
	return false
}

// A preflight that needs no key carries neither a body nor an upgrade, and is
// bounded.
func TestPreflightIsNoTunnel(t *testing.T) {
	var seen bool
	r := newRig(t, Settings{}, Route{Path: "/", Preflight: "pass", Upstreams: []string{backend(t, func(http.ResponseWriter, *http.Request) { seen = true })}})
	const head = "OPTIONS /x HTTP/1.1\r\nHost: x\r\nOrigin: https://o.example\r\nAccess-Control-Request-Method: POST\r\n"
	for send, want := range map[string]int{
		"\r\n":                         200,
		"Content-Length: 0\r\n\r\n":    200,
		"Content-Length: 3\r\n\r\nabc": 401,
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":      401,
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                  401,
		"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n":            401,
		"Connection: keep-alive, upgrade\r\nUpgrade: anything\r\n\r\n": 401,
		"Upgrade: h2c\r\n\r\n":                                         401,
	} {
		seen = false
		if res := r.raw(head + send); res.StatusCode != want || seen != (want == 200) {
			t.Errorf("%q: status %d, upstream asked %v, want %d", send, res.StatusCode, seen, want)
		}
	}
	r.gate.preflight.Store(&fault.Error{Code: fault.RequestsPerMinute, RetryAfter: 1})
	seen = false
	if res := r.raw(head + "\r\n"); res.StatusCode != 429 || seen {
		t.Errorf("beyond the bound: status %d", res.StatusCode)
	}
	if res := r.raw(head + cred + "Content-Length: 1\r\n\r\nx"); res.StatusCode != 200 {
		t.Errorf("with a key: status %d", res.StatusCode)
	}
}

// Where the cost of a call is bounded, no other protocol takes over: messages in it
// would be calls that nobody checks.
func TestUpgradeUnderABoundOnCost(t *testing.T) {
	var seen atomic.Int64
	up := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		seen.Add(1)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}}, Route{Path: "/max", Upstreams: []string{up}, MaxCostPerCall: "0.05"},
		Route{Path: "/fixed", Upstreams: []string{up}, Cost: "0.01"}, Route{Path: "/open", Upstreams: []string{up}, Public: true})
	for _, c := range []struct {
		path, head string
		max        store.Money // of the key
		refused    bool
	}{
		{"/max", "Connection: Upgrade\r\nUpgrade: websocket", 0, true},
		{"/max", "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket", 0, true},
		{"/max", "Connection: upgrade\r\nUpgrade: h2c, websocket", 0, true},
		{"/max", "Connection: upgrade\r\nUpgrade: anything/1.0", 0, true},
		{"/max", "Connection: upgrade\r\nConnection: close\r\nUpgrade: websocket", 0, true},
		{"/", "Connection: Upgrade\r\nUpgrade: websocket", 5 * cent, true},
		{"/fixed", "Connection: Upgrade\r\nUpgrade: websocket", 5 * cent, true},
		{"/", "Connection: Upgrade\r\nUpgrade: websocket", 0, false},
		{"/fixed", "Connection: Upgrade\r\nUpgrade: websocket", 0, false},
		{"/open", "Connection: Upgrade\r\nUpgrade: websocket", 5 * cent, false},
		{"/max", "Upgrade: websocket", 0, false},                  // for this hop it means nothing, and it goes no further
		{"/max", "Connection: Upgrade\r\nUpgrade: h2c", 0, false}, // dropped
		{"/max", "Connection: Upgrade", 0, false},                 // to what?
	} {
		r.gate.rec.Extra = &store.Extra{}
		r.gate.rec.MaxCost = c.max
		seen.Store(0)
		res := r.raw("GET " + c.path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n" + c.head + "\r\n\r\n")
		if c.refused != (res.StatusCode == 400) || c.refused != (seen.Load() == 0) {
			t.Errorf("%s, key's bound %d, %q: status %d, the upstream saw %d", c.path, c.max, c.head, res.StatusCode, seen.Load())
		}
		if o := r.log.next(t); c.refused && o.Units != 0 {
			t.Errorf("%s, %q: a refused request is charged %d units", c.path, c.head, o.Units)
		}
	}
}
