package h1

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// parsed is what a head says beside its [http.Request].
type parsed struct {
	length        int64
	close, expect bool
}

// parse reads a whole head.
func parse(t *testing.T, text string, secure bool) (*http.Request, parsed, error) {
	t.Helper()
	s := requestScanner()
	if n, err := s.scan([]byte(text)); err != nil || n != len(text) || !s.done() {
		t.Fatalf("scan %q: %d of %d, %v", text, n, len(text), err)
	}
	p := []byte(text)
	canonicalize(p, false)
	q, r := &Request{Secure: secure}, new(http.Request)
	err := q.parse(string(p))
	if r.Method = q.Method; err == nil {
		q.fill(r)
		if r.URL.EscapedPath() != q.Path && q.Method != "CONNECT" || r.URL.RawQuery != q.Query || q.Asked != (strings.Contains(q.Target, "?")) {
			t.Errorf("%q: path %q, query %q; net/url has %q, %q", text, q.Path, q.Query, r.URL.EscapedPath(), r.URL.RawQuery)
		}
	}
	return r, parsed{q.Length, q.close, q.expect}, err
}

// The rules of a head that no octet alone can break.
func TestRequestRules(t *testing.T) {
	for _, tt := range []struct {
		line, fields string
		want         error
	}{
		{"GET / HTTP/1.1", "Host: a", nil},
		{"GET / HTTP/1.1", "", errNoHost},
		{"GET / HTTP/1.1", "Host: a\nHost: b", errHosts},
		{"GET / HTTP/1.1", "Host: a\nHost: a", errHosts},
		{"GET / HTTP/1.1", "Host:", errHost},
		{"GET / HTTP/1.0", "Host:", errHost},
		{"GET / HTTP/1.1", "Host: u@a", errHost},
		{"GET / HTTP/1.1", "Host: a/b", errHost},
		{"GET / HTTP/1.1", "Host: a, b", errHost},
		{"GET / HTTP/1.0", "", nil},
		{"GET / HTTP/1.0", "Host: a", nil},
		{"GET / HTTP/1.2", "Host: a", nil},
		{"GET / HTTP/1.2", "", errNoHost},

		{"get / HTTP/1.1", "Host: a", nil},
		{"FOOBAR / HTTP/1.1", "Host: a", nil},
		{"GET * HTTP/1.1", "Host: a", errAsterisk},
		{"OPTIONS * HTTP/1.1", "Host: a", nil},
		{"GET foo:bar HTTP/1.1", "Host: a", errAbsolute},
		{"GET foo HTTP/1.1", "Host: a", errPath},
		{"GET ?q HTTP/1.1", "Host: a", errPath},
		{"GET /%zz HTTP/1.1", "Host: a", errPath},
		{"GET /?%zz HTTP/1.1", "Host: a", nil},
		{"GET //a/b HTTP/1.1", "Host: a", nil},
		{"GET http://a/ HTTP/1.1", "Host: a", nil},
		{"GET http://A:80 HTTP/1.1", "Host: a", nil},
		{"GET HTTP://a HTTP/1.1", "Host: a:80", nil},
		{"GET http://a/ HTTP/1.0", "", nil},
		{"GET http://a/ HTTP/1.1", "", errNoHost},
		{"GET http://a/ HTTP/1.1", "Host: b", errOtherHost},
		{"GET http://a:81/ HTTP/1.1", "Host: a", errOtherHost},
		{"GET http://a/ HTTP/1.1", "Host:", errHost},
		{"GET http://u@a/ HTTP/1.1", "Host: a", errAbsolute},
		{"GET http://u:p@a/ HTTP/1.1", "Host: a", errAbsolute},
		{"GET https://a/ HTTP/1.1", "Host: a", errAbsolute},
		{"GET ftp://a/ HTTP/1.1", "Host: a", errAbsolute},
		{"GET http:/// HTTP/1.0", "", errAbsolute},
		{"GET http:a HTTP/1.0", "", errAbsolute},
		{"GET http://a:x/ HTTP/1.0", "", errPath},
		{"CONNECT a:443 HTTP/1.1", "Host: a:443", nil},
		{"CONNECT a HTTP/1.1", "Host: a", errAuthority},
		{"CONNECT / HTTP/1.1", "Host: a", errAuthority},

		{"POST / HTTP/1.1", "Host: a\nContent-Length: 5\nTransfer-Encoding: chunked", errTwoFrames},
		{"POST / HTTP/1.0", "Transfer-Encoding: chunked\nConnection: keep-alive", errOldCoding},
		{"POST / HTTP/1.1", "Host: a\nTransfer-Encoding: gzip", errCoding},
		{"POST / HTTP/1.1", "Host: a\nContent-Type: b/c\nContent-Type: b/d", errTypes},
		{"POST / HTTP/1.1", "Host: a\nContent-Type: b/c\nContent-Type: b/c", nil},
		{"POST / HTTP/1.1", "Host: a\nExpect: 200-ok", errExpect},
		{"POST / HTTP/1.1", "Host: a\nExpect: 100-continue, b", errExpect},
		{"POST / HTTP/1.1", "Host: a\nExpect: 100-continue\nExpect: b", errExpect},
		{"POST / HTTP/1.1", "Host: a\nExpect:", nil},
		{"POST / HTTP/1.0", "Expect: 200-ok", nil},
	} {
		fields := ""
		if tt.fields != "" {
			fields = strings.ReplaceAll(tt.fields, "\n", "\r\n") + "\r\n"
		}
		r, _, err := parse(t, tt.line+"\r\n"+fields+"\r\n", false)
		if err != tt.want || r.Method == "" {
			t.Errorf("%s with %q: %v, want %v", tt.line, tt.fields, err, tt.want)
		}
	}
	for target, want := range map[string]error{"https://a": nil, "https://a:443/": nil, "http://a": errAbsolute, "https://b": errOtherHost} {
		if _, _, err := parse(t, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n", true); err != want {
			t.Errorf("%s over TLS: %v, want %v", target, err, want)
		}
	}
}

func TestValidHost(t *testing.T) {
	for host, want := range map[string]bool{
		"a": true, "a.b-c_d.": true, "A:1": true, "a:65535": true, "1.2.3.4:80": true, "[::1]": true, "[2001:db8::1]:8080": true,
		"": false, ":80": false, "a:": false, "a:0": false, "a:65536": false, "a:+1": false, "a:x": false, "a:1:2": false, "a:000080": false,
		"[": false, "[::1": false, "::1": false, "[::1]x": false, "[::1]:": false, "[1.2.3.4]": false, "[fe80::1%25lo]": false, "[fe80::1%lo]": false,
		"a b": false, "a%41": false, "a,b": false, "u@a": false, "a/": false, "a?": false, "a#": false, "a\\": false, "\u00e9": false, "a;b": false, "a~": false, "[v1.a]": false,
	} {
		if got := validHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

// What a head says beside its fields, and which fields move elsewhere.
func TestParsedRequest(t *testing.T) {
	r, h, err := parse(t, "\r\nPOST /a?b HTTP/1.1\r\nhost: c\r\nTransfer-Encoding: Chunked\r\nTrailer: x-a, X-B\r\nTrailer: ,\r\nExpect: 100-Continue\r\nConnection: te, Close\r\nX: 1\r\nx: 2\r\n\r\n", false)
	if err != nil || h != (parsed{length: -1, close: true, expect: true}) {
		t.Errorf("%+v, %v", h, err)
	}
	if r.Method != "POST" || r.RequestURI != "/a?b" || r.URL.Path != "/a" || r.URL.RawQuery != "b" || r.Proto != "HTTP/1.1" || r.ProtoMinor != 1 || r.Host != "c" || r.ContentLength != -1 {
		t.Errorf("%+v", r)
	}
	want := http.Header{"Expect": {"100-Continue"}, "Connection": {"te, Close"}, "X": {"1", "2"}}
	if !reflect.DeepEqual(r.Header, want) || !reflect.DeepEqual(r.Trailer, http.Header{"X-A": nil, "X-B": nil}) || !reflect.DeepEqual(r.TransferEncoding, []string{"chunked"}) {
		t.Errorf("header %q, trailer %q, coding %q", r.Header, r.Trailer, r.TransferEncoding)
	}
	for text, want := range map[string]parsed{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                                                   {},
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n":                           {},
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n":      {length: 7, expect: true},
		"GET / HTTP/1.0\r\nContent-Length: 7\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n":   {length: 7, close: true},
		"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n":                                 {},
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n":               {close: true},
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: enclosed\r\n\r\n": {},
	} {
		r, h, err := parse(t, text, false)
		if err != nil || h != want || r.Header["Upgrade"] != nil || r.ProtoMinor == 0 && r.Header["Expect"] != nil {
			t.Errorf("%q: %+v, %v, header %q", text, h, err, r.Header)
		}
	}
}

// The answer to a head that is refused half-way may know its whole lines.
func TestParsePart(t *testing.T) {
	for text, want := range map[string]*http.Request{
		"":                                  {},
		"GET / HTTP/1.1":                    {},
		"\r\n":                              {},
		"\r\nGET /":                         {},
		"GET / HTTP/1.1\r\n":                {Method: "GET", Header: http.Header{}},
		"HEAD / HTTP/1.1\r\nAccept: a\r\nX": {Method: "HEAD", Header: http.Header{"Accept": {"a"}}},
	} {
		var q Request
		q.parsePart(text)
		if q.Method != want.Method || !reflect.DeepEqual(q.Fields.Header(), want.Header) && q.Fields.Len()+len(want.Header) > 0 {
			t.Errorf("%q: %s %q", text, q.Method, q.Fields)
		}
	}
}
