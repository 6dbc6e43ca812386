package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// h11Case is one rule of HTTP/1.1, as the octets that a client sends.
type h11Case struct {
	name string
	text string // $GET, $POST and $NEXT stand for heads, see h11Heads; $OTHER is not the connection's $SCHEME
	// want is the status of the first answer. A status of 4xx or 5xx means that the
	// connection ends after it, that nothing after the fault is answered, and that the
	// upstream sees nothing; the status on the admin listener follows it where it is
	// another, or "slow" where the listener waits for long. After other statuses, $NEXT is
	// answered on the same connection, unless "close" follows.
	want string
	seen string // the request that the upstream sees; "" is "GET / "
}

// The heads in the texts of cases. The call is one that reads its body on the admin
// listener; the proxy of the test leaves it to the upstream.
var h11Heads = []string{
	"$GET", "GET / HTTP/1.1\r\nHost: a\r\n",
	"$POST", "POST /v1/keys/verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer $TOKEN\r\n",
	"$NEXT", "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"$SOCKET", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
	"$CHUNKED", "Transfer-Encoding: chunked\r\n\r\n",
	"$JSON", `{"key":"abc"}`, // 13 octets
}

// recorded are the fields in a record.
var recorded = []string{"Expect", "Upgrade", "Http2-Settings", "Transfer_encoding", "Content_length", "X-Fold", "Range", "Accept", "If-None-Match", "If-Modified-Since"}

// recorder is an upstream that records the requests that come to their end.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

// take returns the records and forgets them.
func (u *recorder) take() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

func (u *recorder) run(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go u.serve(c)
	}
}

func (u *recorder) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		record := r.Method + " " + r.RequestURI + " " + string(body)
		for _, name := range recorded {
			if v, ok := r.Header[name]; ok {
				record += fmt.Sprintf(" %s: %q", name, v)
			}
		}
		for name, values := range r.Trailer {
			record += fmt.Sprintf(" trailer %s: %q", name, values)
		}
		u.mu.Lock()
		u.seen = append(u.seen, record)
		u.mu.Unlock()
		answer, ok := h11Answers[r.URL.Path]
		if !ok {
			answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
			if r.Method != "HEAD" {
				answer += "ok"
			}
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// h11Server is a perfgate in front of a recorder.
type h11Server struct {
	*server
	up    *recorder
	loops bool // serve the proxy's requests, after the first one of a connection
}

func startH11(t *testing.T, secure bool) *h11Server { return startH11On(t, secure, false) }

func startH11On(t *testing.T, secure, loops bool) *h11Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	u := new(recorder)
	go u.run(ln)
	config := fmt.Sprintf("[proxy]\nself_service = false\nevent_loops = %t\n[[proxy.routes]]\npath = \"/\"\npublic = true\nupstreams = [\"http://%s\"]\ntimeouts.idle = \"1s\"\n", loops, ln.Addr())
	if secure {
		cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
		harness.WriteCertificate(t, cert, key, "one")
		config += fmt.Sprintf("[proxy.tls]\ncert_file = %[1]q\nkey_file = %[2]q\n[admin.tls]\ncert_file = %[1]q\nkey_file = %[2]q\n", cert, key)
	}
	return &h11Server{start(t, options{config: config}), u, loops}
}

// send sends text on a new connection and returns all that comes until its end.
func (s *h11Server) send(t *testing.T, base, text string) string {
	t.Helper()
	scheme, addr, _ := strings.Cut(base, "://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if scheme == "https" {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(startTimeout))
	other := map[string]string{"http": "https", "https": "http"}[scheme]
	if s.loops && base == s.proxy {
		s.lead(t, c)
	}
	text = strings.NewReplacer(h11Heads...).Replace(text)
	text = strings.NewReplacer("$TOKEN", s.operator, "$SCHEME", scheme, "$OTHER", other).Replace(text)
	io.WriteString(c, text) // a refusal may come before its end
	got, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("the connection does not end well: %v", err)
	}
	return string(got)
}

// lead sends a request on c: a loop gets the connection after its answer.
func (s *h11Server) lead(t *testing.T, c net.Conn) {
	t.Helper()
	io.WriteString(c, "GET /lead HTTP/1.1\r\nHost: a\r\n\r\n")
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil || br.Buffered() > 0 {
		t.Fatalf("after the first answer: %v, and %d octets more", err, br.Buffered())
	}
	s.up.take()
}

// h11Answer is an answer with its content.
type h11Answer struct {
	*http.Response
	content []byte
}

// readAnswers takes apart all that came for text. Interim answers are answers, too.
func readAnswers(t *testing.T, text, got string) (out []h11Answer) {
	t.Helper()
	br := bufio.NewReader(strings.NewReader(got))
	for i := 0; ; i++ {
		r := &http.Request{Method: "GET"}
		if i == 0 && strings.HasPrefix(text, "HEAD ") {
			r.Method = "HEAD"
		}
		if _, err := br.Peek(1); err != nil {
			return out
		}
		res, err := http.ReadResponse(br, r)
		if err != nil {
			t.Fatalf("answer %d of %q: %v", i, got, err)
		}
		content, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("content of answer %d of %q: %v", i, got, err)
		}
		out = append(out, h11Answer{res, content})
	}
}

// TestHTTP11 runs every case on both listeners, in plaintext and over TLS.
func TestHTTP11(t *testing.T) {
	all := slices.Concat(h11HeadCases, h11BodyCases)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			s := startH11(t, secure)
			for _, c := range all {
				t.Run(c.name+", proxy", func(t *testing.T) { s.check(t, s.proxy, c) })
				if !c.slow() {
					t.Run(c.name+", admin", func(t *testing.T) { s.check(t, s.admin, c) })
				}
			}
		})
	}
	t.Run("loops", func(t *testing.T) {
		t.Parallel()
		s := startH11On(t, false, true)
		for _, c := range all {
			t.Run(c.name, func(t *testing.T) { s.check(t, s.proxy, c) })
		}
	})
	// These wait side by side, at a node whose upstream sees no other request.
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		s := startH11(t, false)
		for _, c := range all {
			if c.slow() {
				t.Run(c.name+", admin", func(t *testing.T) {
					t.Parallel()
					s.check(t, s.admin, c)
				})
			}
		}
	})
}

// slow reports whether the admin listener waits for long.
func (c *h11Case) slow() bool { return strings.HasSuffix(c.want, " slow") }

// check runs a case on a listener. The admin listener has other answers to good
// requests; that they are answered is enough.
func (s *h11Server) check(t *testing.T, base string, c h11Case) {
	status, also, _ := strings.Cut(c.want, " ")
	refused := status[0] > '3'
	text := c.text
	if !refused && also == "" {
		text += "$NEXT"
	}
	if refused && base == s.admin && also != "" && also != "slow" {
		status = also
	}
	answers := readAnswers(t, text, s.send(t, base, text))
	seen := s.up.take()
	if len(answers) == 0 {
		t.Fatal("no answer")
	}
	first := answers[0]
	if _, err := time.Parse(http.TimeFormat, first.Header.Get("Date")); err != nil {
		t.Error(err)
	}
	if refused {
		if (first.StatusCode == 405) != (first.Header.Get("Allow") != "") || first.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with the header %v", first.Status, first.Header)
		}
		if first.StatusCode != statusOf(status) {
			t.Errorf("%s %s, want %s", first.Status, first.content, status)
		}
		if len(answers) != 1 || len(seen) != 0 || !first.Close || bytes.Contains(first.content, []byte(s.operator)) {
			t.Errorf("%d answers, close %v, the upstream saw %q", len(answers), first.Close, seen)
		}
		var doc struct {
			Error struct {
				Code string `json:"code"`
				ID   string `json:"request_id"`
			} `json:"error"`
		}
		if err := json.Unmarshal(first.content, &doc); err != nil || doc.Error.Code == "" || doc.Error.ID == "" || doc.Error.ID != first.Header.Get("X-Request-Id") {
			t.Errorf("the answer has not the form of the API: %s", first.content)
		}
		return
	}
	wanted, again := 2, "GET /next "
	if also != "" {
		wanted, again = 1, ""
	}
	if len(answers) != wanted || first.Proto != "HTTP/1.1" {
		t.Errorf("%d answers, want %d; the first is %+v", len(answers), wanted, first.Response)
	}
	if base == s.admin {
		if first.StatusCode == 400 || first.StatusCode >= 500 {
			t.Errorf("%s %s", first.Status, first.content)
		}
		return
	}
	want := []string{c.seen}
	if c.seen == "" {
		want[0] = "GET / "
	}
	want[0] = strings.NewReplacer(h11Heads...).Replace(want[0])
	if status == "204" {
		want = want[:0]
	}
	if again != "" {
		want = append(want, again)
	}
	if first.StatusCode != statusOf(status) || !slices.Equal(seen, want) {
		t.Errorf("%s %s, want %s; the upstream saw %q, want %q", first.Status, first.content, status, seen, want)
	}
}

func statusOf(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}

// A client that waits for a 100 gets it only when it must.
func TestHTTP11Continue(t *testing.T) {
	s := startH11(t, false)
	for _, base := range []string{s.proxy, s.admin} {
		const fields = "Content-Length: 13\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n"
		if got := s.send(t, base, "$POST"+fields+"$JSON"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("with the body: %q", got)
		}
		if got := s.send(t, base, "POST /x HTTP/1.0\r\n"+fields+"$JSON"); strings.Contains(got, " 100 ") || !strings.HasPrefix(got, "HTTP/1.1 ") {
			t.Errorf("of HTTP/1.0: %q", got)
		}
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(startTimeout))
		io.WriteString(c, strings.ReplaceAll(strings.NewReplacer(h11Heads...).Replace("$POST"+fields), "$TOKEN", s.operator))
		interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(c, interim); err != nil || !bytes.HasPrefix(interim, []byte("HTTP/1.1 100 ")) {
			t.Errorf("%q, %v", interim, err)
		}
		io.WriteString(c, `{"key":"abc"}`)
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
			t.Errorf("after the 100: %q, %v", got, err)
		}
	}
}
