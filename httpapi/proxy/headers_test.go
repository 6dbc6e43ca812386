package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

const cred = "Authorization: Bearer good\r\n"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// requestHeaderCases are requests, and the headers that the upstream gets.
var requestHeaderCases = []struct {
	name, method, path, send string

	trusted []netip.Prefix
	want    map[string]string // "" is absent
}{
	{name: "identity", send: cred + "X-Request-Id: r-1\r\n", want: map[string]string{
		"X-Perf-Key-Id": "key_1", "X-Perf-Account": "acct_a", "X-Perf-Key-Type": "live", "X-Perf-Scopes": "read write fast",
		"X-Request-Id": "r-1", "Authorization": ""}},
	{name: "own identity", send: cred + "X-Perf-Key-Id: evil\r\nx-perf-account: evil\r\nX-PERF-Anything: evil\r\n", want: map[string]string{
		"X-Perf-Key-Id": "key_1", "X-Perf-Account": "acct_a", "X-Perf-Anything": ""}},
	{name: "underscores", send: cred + "X_Perf_Account: evil\r\nX-Perf_Account: evil\r\nX_Other: x\r\n", want: map[string]string{
		"X_Perf_Account": "", "X-Perf_Account": "", "X_Other": ""}},
	{name: "key header", send: cred + "X-Api-Key: k\r\n", want: map[string]string{"X-Api-Key": ""}},
	{name: "public", path: "/open", send: cred + "X-Api-Key: k\r\nX-Perf-Account: evil\r\n", want: map[string]string{
		"Authorization": "", "X-Api-Key": "", "X-Perf-Account": "", "X-Perf-Key-Id": ""}},
	{name: "bad id", send: cred + "X-Request-Id: a b\r\n", want: map[string]string{"X-Request-Id": "req_"}},
	{name: "two ids", send: cred + "X-Request-Id: a\r\nX-Request-Id: b\r\n", want: map[string]string{"X-Request-Id": "req_"}},
	{name: "hop by hop", send: cred + "Connection: close, X-Hop, X-Perf-Key-Id, x-request-id\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTE: gzip\r\nUpgrade: x\r\n", want: map[string]string{
		"X-Hop": "", "Keep-Alive": "", "Proxy-Connection": "", "Proxy-Authorization": "", "Te": "", "Upgrade": "", "Connection": "", "X-Perf-Key-Id": "key_1"}},
	{name: "te trailers", send: cred + "TE: trailers\r\nConnection: te\r\n", want: map[string]string{"Te": "trailers"}},
	{name: "forwarded, not trusted", send: cred + "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-User: root\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n", want: map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "outer.example", "X-Forwarded-Port": "", "X-Forwarded-User": "", "X-Real-Ip": "", "Forwarded": ""}},
	{name: "forwarded, trusted", trusted: loopback, send: cred + "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: first\r\nX-Forwarded-Port: 443\r\nForwarded: for=1.2.3.4\r\n", want: map[string]string{
		"X-Forwarded-For": "1.2.3.4, 5.6.7.8, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "first", "X-Forwarded-Port": "443", "Forwarded": ""}},
	{name: "another path, not trusted", send: cred + "X-Original-URL: /admin\r\nx-rewrite-url: /admin\r\n", want: map[string]string{
		"X-Original-Url": "", "X-Rewrite-Url": ""}},
	{name: "another path, trusted", trusted: loopback, send: cred + "X-Original-URL: /x\r\n", want: map[string]string{"X-Original-Url": "/x"}},
	{name: "another method", send: cred + "X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\n", want: map[string]string{
		"X-Http-Method-Override": "", "X-Http-Method": "", "X-Method-Override": ""}},
	{name: "another method of a write", method: "POST", send: cred + "X-HTTP-Method-Override: DELETE\r\n", want: map[string]string{"X-Http-Method-Override": ""}},
	{name: "another method than the route's", method: "POST", path: "/posts", send: cred + "X-HTTP-Method-Override: DELETE\r\n", want: map[string]string{"X-Http-Method-Override": ""}},
	{name: "nothing forwarded, trusted", trusted: loopback, send: cred, want: map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "outer.example"}},
	{name: "rules", path: "/ruled", send: cred + "X-Gone: x\r\nX-Set: client\r\n", want: map[string]string{
		"Authorization": "Bearer secret-of-UPSTREAM_KEY", "X-Gone": "", "X-Set": "asecret-of-Ab$c"}},
	{name: "host", send: cred, want: map[string]string{"Host": "(upstream)"}},
	{name: "host by rule", path: "/hosted", send: cred, want: map[string]string{"Host": "inner.example"}},
	{name: "host kept", path: "/kept", send: cred, want: map[string]string{"Host": "outer.example"}},
	{name: "own cookies", send: cred + "Cookie: a=b; perfgate=s; __Host-perfgate=t\r\n", want: map[string]string{"Cookie": "a=b"}},
	{name: "others pass", send: cred + "Cookie: a=b\r\nAccept-Encoding: br\r\nX-Custom: 1\r\n", want: map[string]string{
		"Cookie": "a=b", "Accept-Encoding": "br", "X-Custom": "1", "User-Agent": ""}},
}

func TestRequestHeaders(t *testing.T) {
	var got *http.Request
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { got = r })
	rules := map[string]string{"Authorization": "Bearer ${UPSTREAM_KEY}", "X-Gone": "", "x-set": "a${A}b$c"}
	plain := Route{Path: "/", Upstreams: []string{up}}
	ruled := Route{Path: "/ruled", Upstreams: []string{up}, Headers: rules}
	hosted := Route{Path: "/hosted", Upstreams: []string{up}, Headers: map[string]string{"Host": "inner.example"}}
	kept := Route{Path: "/kept", Upstreams: []string{up}, PreserveHost: true}
	open := Route{Path: "/open", Upstreams: []string{up}, Public: true}
	posts := Route{Path: "/posts", Methods: []string{"POST"}, Upstreams: []string{up}}
	for _, c := range requestHeaderCases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Settings{Trusted: c.trusted, KeyHeader: "x-api-key"}, plain, ruled, hosted, kept, open, posts)
			got = nil
			if c.method == "" {
				c.method = "GET"
			}
			if c.path == "" {
				c.path = "/x"
			}
			if res := r.raw(c.method + " " + c.path + " HTTP/1.1\r\nHost: outer.example\r\n" + c.send + "\r\n"); res.StatusCode != 200 || got == nil {
				t.Fatalf("status %d", res.StatusCode)
			}
			got.Header.Set("Host", got.Host)
			for name, want := range c.want {
				values := got.Header[name]
				if want == "(upstream)" {
					want = strings.TrimPrefix(up, "http://")
				}
				if want == "" && len(values) == 0 || len(values) == 1 && (values[0] == want || want == "req_" && len(values[0]) == 26) {
					continue
				}
				t.Errorf("%s: %q, want %q", name, values, want)
			}
		})
	}
}

func TestResponseHeaders(t *testing.T) {
	var head string
	up := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+strings.ReplaceAll(head, "UP", c.LocalAddr().String())+"\r\n")
	})
	r := newRig(t, Settings{},
		Route{Path: "/", Upstreams: []string{up}},
		Route{Path: "/api", Upstreams: []string{up + "/v2"}, StripPrefix: "/api"})
	for _, c := range []struct{ path, head, name, want string }{
		{"/", "Connection: X-Inner\r\nX-Inner: 1\r\n", "X-Inner", ""},
		{"/", "Keep-Alive: timeout=5\r\n", "Keep-Alive", ""},
		{"/", "Proxy-Authenticate: Basic\r\n", "Proxy-Authenticate", ""},
		{"/", "Alt-Svc: h3=\":443\"\r\n", "Alt-Svc", ""},
		{"/", "Retry-After: 7\r\n", "Retry-After", "7"},
		{"/", "Server: theirs\r\n", "Server", "theirs"},
		{"/", "Set-Cookie: a=b\r\nSet-Cookie: perfgate=x\r\nSet-Cookie: c=d\r\n", "Set-Cookie", "a=b|c=d"},
		{"/", "X-RateLimit-Limit-Tokens: 5\r\n", "X-Ratelimit-Limit-Tokens", "5"},
		{"/", "RateLimit-Policy: up\r\n", "X-Upstream-Ratelimit-Policy", "up"},
		{"/", "Location: http://UP/login?a=b#c\r\n", "Location", "/login?a=b#c"},
		{"/", "Location: http://UP\r\n", "Location", "/"},
		{"/", "Location: https://elsewhere.example/x\r\n", "Location", "https://elsewhere.example/x"},
		{"/", "Location: /relative\r\n", "Location", "/relative"},
		{"/", "Location: //UP/x\r\n", "Location", "/x"},
		{"/api/x", "Location: http://UP/v2/y\r\n", "Location", "/api/y"},
		{"/api/x", "Location: http://UP//evil.example/\r\n", "Location", "/api/evil.example/"},
		{"/", "Location: http://UP//evil.example/\r\n", "Location", "/evil.example/"},
	} {
		head = c.head
		res := r.do("GET", c.path, "")
		if got := strings.Join(res.Header[c.name], "|"); res.StatusCode != 200 || got != c.want {
			t.Errorf("%s%s: %q, want %q", c.path, c.head, got, c.want)
		}
	}
}

// Authorization goes to the upstream where the gate says that it is the upstream's
// own, as it is and without the key; a key in it never does.
func TestPassAuthorization(t *testing.T) {
	var seen http.Header
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	r := newRig(t, Settings{KeyHeader: "X-Api-Key"}, Route{Path: "/", Upstreams: []string{up}}, Route{Path: "/own", Upstreams: []string{up}, PassAuthorization: true})
	for _, c := range []struct{ path, lines, want string }{
		{"/own", "X-Api-Key: good\r\nAuthorization: Bearer of-the-user\r\n", "Bearer of-the-user"},
		{"/own", "Authorization: Bearer good\r\n", ""},
		{"/own", "X-Api-Key: good\r\nAuthorization: Bearer " + apikey.New(apikey.LivePrefix) + "\r\n", ""},
		{"/", "X-Api-Key: other\r\nAuthorization: Bearer good\r\n", ""},
	} {
		seen = nil
		res := r.raw("GET " + c.path + " HTTP/1.1\r\nHost: x\r\n" + c.lines + "\r\n")
		if res.StatusCode != 200 || seen.Get("Authorization") != c.want || seen.Get("X-Api-Key") != "" {
			t.Errorf("%s with %q: %d, the upstream got %v", c.path, c.lines, res.StatusCode, seen)
		}
	}
}

// compileErrors are the beginnings of the errors that changes of a good route make.
var compileErrors = map[string]func(*Route){
	`proxy.routes[1].path = "x": `:                                         func(r *Route) { r.Path = "x" },
	`proxy.routes[1].path = "/{a": `:                                       func(r *Route) { r.Path = "/{a" },
	`proxy.routes[1].path = "/a": same host`:                               func(r *Route) { r.Path = "/a" },
	`proxy.routes[1].path = "get /x": "get" is not a method`:               func(r *Route) { r.Path = "get /x" },
	`proxy.routes[1].path = "/{a}/{a}": `:                                  func(r *Route) { r.Path = "/{a}/{a}" },
	`proxy.routes[1].path = "/{a...}/b": `:                                 func(r *Route) { r.Path = "/{a...}/b" },
	`proxy.routes[1].path = "/a/../b": `:                                   func(r *Route) { r.Path = "/a/../b" },
	`proxy.routes[1].path = "/b/*": "*" is no wildcard`:                    func(r *Route) { r.Path = "/b/*" },
	`proxy.routes[1].path = "/b/**": `:                                     func(r *Route) { r.Path = "/b/**" },
	`proxy.routes[1].path = "/*.js": `:                                     func(r *Route) { r.Path = "/*.js" },
	`proxy.routes[1].path = "/u/:id": ":id" is no wildcard here`:           func(r *Route) { r.Path = "/u/:id" },
	`proxy.routes[1].upstreams[0] = "http://0x7f.1": `:                     func(r *Route) { r.Upstreams = []string{"http://0x7f.1"} },
	`proxy.routes[1].upstreams[0] = "http://a..b": `:                       func(r *Route) { r.Upstreams = []string{"http://a..b"} },
	`proxy.routes[1].upstreams[0] = "http://-a": `:                         func(r *Route) { r.Upstreams = []string{"http://-a"} },
	`proxy.routes[1].upstreams[0] = "http://a,b": `:                        func(r *Route) { r.Upstreams = []string{"http://a,b"} },
	`proxy.routes[1].strip_prefix = "/c": no path of this route`:           func(r *Route) { r.StripPrefix = "/c" },
	`proxy.routes[1].strip_prefix = "/b/c": no path of this route`:         func(r *Route) { r.Path, r.StripPrefix = "GET /b", "/b/c" },
	`proxy.routes[1].pass_authorization = "true": has no effect on a`:      func(r *Route) { r.PassAuthorization, r.Public = true, true },
	`proxy.routes[1].pass_authorization = "true": has no effect`:           func(r *Route) { r.PassAuthorization, r.Headers = true, map[string]string{"authorization": "x"} },
	`proxy.routes[1].path = "": `:                                          func(r *Route) { r.Path = "" },
	`proxy.routes[1].host = "a:80": `:                                      func(r *Route) { r.Host = "a:80" },
	`proxy.routes[1].host = "a.*": `:                                       func(r *Route) { r.Host = "a.*" },
	`proxy.routes[1].host = "*": `:                                         func(r *Route) { r.Host = "*" },
	`proxy.routes[1].host = "a.*.b": `:                                     func(r *Route) { r.Host = "a.*.b" },
	`proxy.routes[1].host = "*a.b": `:                                      func(r *Route) { r.Host = "*a.b" },
	`proxy.routes[1].host = "*.": `:                                        func(r *Route) { r.Host = "*." },
	`proxy.routes[1].host = "256.1.1.1": must be a host name or an IP`:     func(r *Route) { r.Host = "256.1.1.1" },
	`proxy.routes[1].host = "10.1": must be a host name or an IP`:          func(r *Route) { r.Host = "10.1" },
	`proxy.routes[1].host = "-a": must be`:                                 func(r *Route) { r.Host = "-a" },
	`proxy.routes[1].host = "*.-a": must be`:                               func(r *Route) { r.Host = "*.-a" },
	`proxy.routes[1].host = "a..b": must be`:                               func(r *Route) { r.Host = "a..b" },
	`proxy.routes[1].host = "a,b": must be`:                                func(r *Route) { r.Host = "a,b" },
	`proxy.routes[1].host = "[::1]:80": must be`:                           func(r *Route) { r.Host = "[::1]:80" },
	`proxy.routes[1].host = "[::x]": must be`:                              func(r *Route) { r.Host = "[::x]" },
	`proxy.routes[1].host = "bücher.example": must be written`:             func(r *Route) { r.Host = "bücher.example" },
	`proxy.routes[1].methods[0] = "*": must be an HTTP method other`:       func(r *Route) { r.Methods = []string{"*"} },
	`proxy.routes[1].path = "* /b": "*" is not a method; leave it out`:     func(r *Route) { r.Path = "* /b" },
	`proxy.routes[1].require[0] = "é": `:                                   func(r *Route) { r.Require = []string{"é"} },
	`proxy.routes[1].headers.A = "…": must not be blank`:                   func(r *Route) { r.Headers = map[string]string{"A": " \t"} },
	`proxy.routes[1].headers.A = "…": the environment variable BLANK is b`: func(r *Route) { r.Headers = map[string]string{"A": "Bearer ${BLANK}"} },
	`proxy.routes[1].headers.A = "…": the environment variable EMPTY is e`: func(r *Route) { r.Headers = map[string]string{"A": "${EMPTY}"} },
	`proxy.routes[1].methods[1] = "TRACE": `:                               func(r *Route) { r.Methods = []string{"GET", "TRACE"} },
	`proxy.routes[1].methods[0] = "GET": the path already names`:           func(r *Route) { r.Path, r.Methods = "PUT /x", []string{"GET"} },
	`proxy.routes[1].upstreams = "": `:                                     func(r *Route) { r.Upstreams = nil },
	`proxy.routes[1].upstreams[0] = "ftp://x": `:                           func(r *Route) { r.Upstreams = []string{"ftp://x"} },
	`proxy.routes[1].upstreams[0] = "10.0.0.1:80": `:                       func(r *Route) { r.Upstreams = []string{"10.0.0.1:80"} },
	`proxy.routes[1].upstreams[0] = "http://u:xxxxx@h": `:                  func(r *Route) { r.Upstreams = []string{"http://u:hunter2@h"} },
	`proxy.routes[1].upstreams[0] = "http://h/?q": `:                       func(r *Route) { r.Upstreams = []string{"http://h/?q"} },
	`proxy.routes[1].require[0] = "a b": `:                                 func(r *Route) { r.Require = []string{"a b"} },
	`proxy.routes[1].require = "a": a public route`:                        func(r *Route) { r.Require, r.Public = []string{"a"}, true },
	`proxy.routes[1].preflight = "allow": `:                                func(r *Route) { r.Preflight = "allow" },
	`proxy.routes[1].allow_method_override[0] = "X-Foo": `:                 func(r *Route) { r.AllowMethodOverride = []string{"X-Foo"} },
	`proxy.routes[1].strip_prefix = "b": `:                                 func(r *Route) { r.StripPrefix = "b" },
	`proxy.routes[1].headers.A = "…": the environment variable`:            func(r *Route) { r.Headers = map[string]string{"A": "hunter2 ${MISSING}"} },
	`proxy.routes[1].headers.A = "…": must be ${NAME}`:                     func(r *Route) { r.Headers = map[string]string{"A": "${X"} },
	`proxy.routes[1].headers.X-Perf-Account = "…": `:                       func(r *Route) { r.Headers = map[string]string{"X-Perf-Account": "a"} },
	`proxy.routes[1].headers.connection = "…": `:                           func(r *Route) { r.Headers = map[string]string{"connection": "a"} },
	`proxy.routes[1].timeouts.idle = "-1": `:                               func(r *Route) { r.Timeouts.Idle = -1 },
	`proxy.routes[1].max_body = "64": must be a size such as`:              func(r *Route) { r.MaxBody = "64" },
	`proxy.routes[1].max_body = "1025TiB": must be at most 1024TiB`:        func(r *Route) { r.MaxBody = "1025TiB" },
	`proxy.routes[1].retries = "-1": `:                                     func(r *Route) { r.Retries = new(-1) },
	`proxy.routes[1].cost = "abc": `:                                       func(r *Route) { r.Cost = "abc" },
	`proxy.routes[1].cost = "header:a b": `:                                func(r *Route) { r.Cost = "header:a b" },
	`proxy.routes[1].cost = "-0.5": `:                                      func(r *Route) { r.Cost = -0.5 },
	`proxy.routes[1].cost = "2": above the route's max_cost_per_call`:      func(r *Route) { r.Cost, r.MaxCostPerCall = int64(2), 1.5 },
	`proxy.routes[1].max_cost_per_call = "0": `:                            func(r *Route) { r.MaxCostPerCall = int64(0) },
	`proxy.routes[1].max_cost_per_call = "1": a public route asks for no`:  func(r *Route) { r.MaxCostPerCall, r.Public = int64(1), true },
}

func TestCompileErrors(t *testing.T) {
	for want, change := range compileErrors {
		r := Route{Path: "/b", Upstreams: []string{"http://10.0.0.1"}}
		change(&r)
		routes := []Route{{Path: "/a", Upstreams: []string{"http://10.0.0.1"}}, r}
		values := map[string]string{"BLANK": " \t", "EMPTY": ""}
		_, err := Compile(routes, func(n string) (string, bool) {
			if v, ok := values[n]; ok {
				return v, true
			}
			return "v", n != "MISSING"
		})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// Hosts that requests can have.
func TestHosts(t *testing.T) {
	for _, host := range []string{"", "a", "A.b.", "a-b.c_d", "xn--bcher-kva.example", "*.example.com", "*.b", "10.0.0.1", "[::1]", "[2001:DB8::1]", "1a.b2"} {
		if reason := hostFault(host); host != "" && reason != "" {
			t.Errorf("%q: %s", host, reason)
		}
		compile(t, Route{Path: "/", Host: host, Upstreams: []string{"http://h"}})
	}
}

func TestMethodsAndAllow(t *testing.T) {
	table := compile(t,
		Route{Path: "/x", Methods: []string{"get", "PUT"}, Upstreams: []string{"http://h"}},
		Route{Path: "POST /x", Upstreams: []string{"http://h"}},
		Route{Path: "/x", Host: "*.Example.com", Upstreams: []string{"http://h"}},
		Route{Path: "/x", Host: "a.example.com.", Methods: []string{"DELETE"}, Upstreams: []string{"http://h"}},
	)
	for _, c := range []struct {
		host, method string
		found        bool
		allow        string
	}{
		{"h", "GET", true, ""}, {"h", "HEAD", true, ""}, {"h", "PUT", true, ""}, {"h", "POST", true, ""},
		{"h", "DELETE", false, "GET, HEAD, POST, PUT"},
		{"b.example.com:80", "PATCH", true, ""}, {"example.com", "PATCH", false, "GET, HEAD, POST, PUT"},
		{"A.Example.COM.", "DELETE", true, ""}, {"a.example.com", "PATCH", true, ""},
		{"[::1]:80", "GET", true, ""},
	} {
		found, allow := table.match(c.host, "/x", c.method)
		if (found != nil) != c.found || allow != c.allow {
			t.Errorf("%s %s: found %v, allow %q", c.method, c.host, found != nil, allow)
		}
	}
	if r, _ := table.match("a.example.com", "/x", "DELETE"); !slices.Equal(r.methods, []string{"DELETE"}) {
		t.Errorf("an exact host does not come first")
	}
}
