package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// withheldHeads are heads of an upstream that must not reach a client as they
// are: UP is the upstream's address. want is the value of name that the client
// gets.
var withheldHeads = []struct{ head, name, want string }{
	{"Authorization: Bearer x", "Authorization", ""},
	{"authorization: Bearer x\r\nAUTHORIZATION: Basic y", "Authorization", ""},
	{"Proxy-Authorization: Basic x", "Proxy-Authorization", ""},
	{"X-Perf-Account: acct_forged", "X-Perf-Account", ""},
	{"x-perf-anything-at-all: 1", "X-Perf-Anything-At-All", ""},
	{"X-Up: secret-of-UP_TOKEN", "X-Up", ""},
	{"X-Mixed: Token secret-of-UP_TOKEN", "X-Mixed", ""},
	{"X-Fixed: theirs", "X-Fixed", "theirs"},
	{"X_Perf_Account: acct_forged", "X_perf_account", ""},
	{"X-PERF_ACCOUNT: acct_forged", "X-Perf_account", ""},
	{"x_perf-anything: 1", "X_perf-Anything", ""},
	{"Proxy_Authorization: Basic x", "Proxy_authorization", ""},
	{"X_UP: secret-of-UP_TOKEN", "X_up", ""},
	{"X_RateLimit_Limit: 9", "X_ratelimit_limit", ""},
	{"X_Request_Id: theirs", "X_request_id", ""},
	{"X_Kept: theirs", "X_kept", "theirs"},
	{"X-RateLimit-Limit: 9", "X-Upstream-Ratelimit-Limit", "9"},
	{"Connection: X-Hop\r\nX-Hop: 1", "X-Hop", ""},
	{"Via: 1.1 theirs", "Via", "1.1 theirs"},
	{"X-Perfect: theirs", "X-Perfect", "theirs"},
	{`Link: <http://UP/a?b=c>; rel="next"`, "Link", `</a?b=c>; rel="next"`},
	{`Link: <http://UP/a>; rel=next, <http://UP/b>; rel=last; anchor="http://UP/c"`, "Link", `</a>; rel=next, </b>; rel=last; anchor="/c"`},
	{"Link: <//UP/a>; rel=next\r\nLink: <HTTP://UP/b>", "Link", "</a>; rel=next|</b>"},
	{`Link: <https://elsewhere.example/a>; rel=next`, "Link", `<https://elsewhere.example/a>; rel=next`},
	{`Link: </a>; title="a > b"`, "Link", `</a>; title="a > b"`},
	{`Link: <http://UP/unclosed`, "Link", `</unclosed`},
	{"Location: http://user:pass@UP/a", "Location", "/a"},
	{`Location: http:\\UP\a`, "Location", "/a"},
	{"Content-Location: http://UP/a", "Content-Location", "/a"},
	{"SourceMap: http://UP/a.map", "Sourcemap", "/a.map"},
	{"Refresh: 0; url=http://UP/a", "Refresh", "0; url=/a"},
	{`Refresh: 5,URL = "http://UP/a"`, "Refresh", "5; url=/a"},
	{"Refresh: 5; http://UP/a", "Refresh", "5; url=/a"},
	{"Refresh: 5; url=/a", "Refresh", "5; url=/a"},
	{"Refresh: 5", "Refresh", "5"},
	{"Location: http://OTHER/a", "Location", "/a"},
}

func TestWithheldResponseHeaders(t *testing.T) {
	var head string
	other := backend(t, func(http.ResponseWriter, *http.Request) {})
	fill := func(c net.Conn, s string) string {
		return strings.NewReplacer("UP_TOKEN", "UP_TOKEN", "UP", c.LocalAddr().String(), "OTHER", strings.TrimPrefix(other, "http://")).Replace(s)
	}
	r := newRig(t, Settings{}, Route{
		// The second upstream is not asked: its path is a dead end.
		Path: "/", Methods: []string{"GET"}, Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(br); err != nil {
					return
				}
				io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n"+fill(c, head)+"\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Perf-Early, X-Up\r\n"+
					fill(c, head)+"\r\n\r\n0\r\nX-Up: secret\r\nX-Perf-Early: 1\r\nX-Perf-Late: 1\r\nAuthorization: x\r\nX-Kept: 1\r\n\r\n")
			}
		})},
		Headers: map[string]string{"X-Up": "${UP_TOKEN}", "x-mixed": "Token ${UP_TOKEN}", "X-Fixed": "ours"},
	})
	route := r.live.Load().table.routes[0]
	route.upstreams = append(route.upstreams, compile(t, Route{Path: "/", Upstreams: []string{other}}).routes[0].upstreams...)
	for _, c := range withheldHeads {
		head = c.head
		early := ""
		req, _ := http.NewRequest("GET", r.srv.URL+"/", nil)
		req.Header.Set("Authorization", "Bearer good")
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { early = strings.Join(h[c.name], "|"); return nil },
		}))
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		if got := strings.Join(res.Header[c.name], "|"); res.StatusCode != 200 || got != c.want || early != c.want {
			t.Errorf("%s: %q, in the interim response %q, want %q", c.head, got, early, c.want)
		}
		for _, name := range []string{"X-Up", "X-Perf-Early", "X-Perf-Late", "Authorization"} {
			if v := res.Trailer[name]; len(v) > 0 {
				t.Errorf("trailer %s: %q", name, v)
			}
		}
		if res.Trailer.Get("X-Kept") != "1" {
			t.Errorf("trailers: %q", res.Trailer)
		}
		res.Body.Close()
	}
}

// A port that is not written is the scheme's.
func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		upstream, location, want string
	}{
		{"http://up.internal", "http://up.internal:80/a", "/a"},
		{"https://up.internal", "https://up.internal:443/a", "/a"},
		{"https://up.internal:443", "https://UP.internal./a", "/a"},
		{"http://up.internal", "//up.internal/a", "/a"},
		{"http://up.internal:8000/base", "http://up.internal:8000/base/a", "/a"},
		{"http://up.internal", "http://up.internal:81/a", "http://up.internal:81/a"},
		{"http://up.internal", "http://up.internal.example/a", "http://up.internal.example/a"},
		{"http://[::1]:9000", "http://[::1]:9000/a", "/a"},
	} {
		table := compile(t, Route{Path: "/", Upstreams: []string{c.upstream}})
		if got := (outside{table.routes[0], "api.example"}).url(c.location); got != c.want {
			t.Errorf("%s at %s: %q, want %q", c.location, c.upstream, got, c.want)
		}
	}
}
