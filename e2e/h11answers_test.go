package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// h11Answers are the recorder's answers by path.
var h11Answers = map[string]string{
	"/204":      "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
	"/304":      "HTTP/1.1 304 Not Modified\r\nETag: W/\"a\"\r\n\r\n",
	"/allow":    "HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n",
	"/html":     "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: a\r\nContent-Length: 2\r\n\r\nok",
	"/hints":    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/trailer":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
	"/upgraded": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}

// Answers of the upstream, as clients of both versions see them.
func TestHTTP11Answers(t *testing.T) {
	s := startH11(t, false)
	for _, tt := range []struct {
		request string // without Connection
		want    []string
		never   []string
	}{
		{"GET /204 HTTP/1.1", []string{"HTTP/1.1 204 "}, []string{"Content-Length", "Transfer-Encoding"}},
		{"GET /304 HTTP/1.1", []string{"HTTP/1.1 304 ", "\r\nEtag: W/\"a\"\r\n"}, []string{"Content-Length", "Transfer-Encoding"}},
		{"OPTIONS /allow HTTP/1.1", []string{"HTTP/1.1 204 ", "\r\nAllow: GET\r\n"}, nil},
		{"GET /html HTTP/1.1", []string{"HTTP/1.1 200 ", "\r\nContent-Type: text/html\r\n", "\r\nEtag: a\r\n"}, nil},
		{"HEAD / HTTP/1.1", []string{"HTTP/1.1 200 ", "\r\nContent-Length: 2\r\n"}, []string{"ok"}},
		{"GET /hints HTTP/1.1", []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 "}, nil},
		{"GET /hints HTTP/1.0", []string{"HTTP/1.1 200 ", "\r\nContent-Length: 2\r\n"}, []string{" 103 "}},
		{"GET /trailer HTTP/1.1", []string{"\r\nTransfer-Encoding: chunked\r\n", "\r\nTrailer: X-T\r\n", "\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"}, nil},
		{"GET /trailer HTTP/1.0", []string{"HTTP/1.1 200 ", "\r\n\r\nok"}, []string{"Transfer-Encoding", "X-T"}},
		{"GET /upgraded HTTP/1.1", []string{"HTTP/1.1 502 "}, []string{" 101 "}}, // nobody asked for it
	} {
		got := s.send(t, s.proxy, tt.request+"\r\nHost: a\r\nConnection: close\r\n\r\n")
		for _, part := range append(tt.want, "Connection: close\r\n", "\r\nDate: ") {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q, want %q in it", tt.request, got, part)
			}
		}
		for _, part := range tt.never {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q has %q", tt.request, got, part)
			}
		}
	}
}

// Requests that come at once are answered in their order.
func TestHTTP11Pipeline(t *testing.T) {
	s := startH11(t, false)
	var text strings.Builder
	var want []int
	for range 8 {
		for path, status := range map[string]int{"/": 200, "/204": 204, "/304": 304} {
			fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
			want = append(want, status)
		}
	}
	var got []int
	for _, a := range readAnswers(t, "", s.send(t, s.proxy, text.String()+"$NEXT")) {
		got = append(got, a.StatusCode)
	}
	if !slices.Equal(got, append(want, 200)) {
		t.Errorf("answers %v, want %v", got, append(want, 200))
	}
}

// HTTP/2 over TLS takes its own protocol in the handshake: without it, its preface is a
// malformed request.
func TestHTTP11Preface(t *testing.T) {
	s := startH11(t, true)
	for _, base := range []string{s.proxy, s.admin} {
		got := readAnswers(t, "", s.send(t, base, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		if seen := s.up.take(); len(got) != 1 || got[0].StatusCode != 505 && got[0].StatusCode != 400 || len(seen) > 0 {
			t.Errorf("%s: %v, the upstream saw %q", base, got, seen)
		}
	}
}
