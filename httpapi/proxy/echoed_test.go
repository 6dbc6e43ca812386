package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// echoing is an upstream that sends all header fields of a request back, in an interim
// response, in the head, where every field is also named in Connection, and in the
// trailer; and each of them once more with underscores in its name.
func echoing(c net.Conn, br *bufio.Reader) {
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		var fields, names strings.Builder
		for name, values := range req.Header {
			for _, spelled := range []string{name, strings.ReplaceAll(name, "-", "_"), strings.ToLower(name)} {
				if name == "Connection" || name == "Upgrade" {
					continue
				}
				fmt.Fprintf(&fields, "%s: %s\r\n", spelled, strings.Join(values, ", "))
				fmt.Fprintf(&names, ", %s", spelled)
			}
		}
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nConnection: X-Perf-Account\r\n"+fields.String()+"\r\n")
		if req.Header.Get("Upgrade") != "" {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade"+names.String()+"\r\nUpgrade: x\r\n"+fields.String()+"\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kept: 1\r\n"+fields.String()+"\r\n0\r\n"+fields.String()+"\r\n")
	}
}

// Nothing that perfgate tells upstreams alone comes back to a client, whichever part of
// a response an upstream puts it in, and however it spells the names.
func TestEchoedHeaders(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, echoing)}, Headers: map[string]string{"Up-Token": "${TOKEN}"}})
	check := func(part string, h http.Header) {
		t.Helper()
		for name, values := range h {
			for _, told := range []string{"acct_a", "key_1", "read write fast", "secret-of-TOKEN", "perfgate-", "127.0.0.1", "outer.example"} {
				if line := strings.Join(values, ", "); strings.Contains(line, told) {
					t.Errorf("%s: %s: %s", part, name, line)
				}
			}
			if strings.Contains(strings.ToLower(strings.Join(h["Connection"], ",")), "perf") {
				t.Errorf("%s: Connection: %q", part, h["Connection"])
			}
		}
	}
	get := func(edit func(*http.Request)) *http.Response {
		interim := 0
		req, err := http.NewRequest("GET", r.srv.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "outer.example"
		req.Header.Set("Authorization", "Bearer good")
		edit(req)
		req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints {
					interim++
					check("interim response", http.Header(h))
				}
				return nil
			},
		}))
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if interim != 1 {
			t.Errorf("%d interim responses", interim)
		}
		check("head", res.Header)
		return res
	}
	res := get(func(*http.Request) {})
	if text(t, res); res.StatusCode != 200 || res.Header.Get("X-Kept") != "1" {
		t.Errorf("status %d, %v", res.StatusCode, res.Header)
	}
	check("trailer", res.Trailer)
	res = get(func(req *http.Request) {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "x")
	})
	if res.StatusCode != 101 || res.Header.Get("Upgrade") != "x" || len(res.Header["Connection"]) != 1 || res.Header.Get("Connection") != "Upgrade" {
		t.Errorf("status %d, %v", res.StatusCode, res.Header)
	}
}
