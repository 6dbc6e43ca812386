package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// streams is an upstream of both versions of HTTP. It sends events, the next one when next
// has a value, interim answers and trailers, and what it gets.
func streams(t *testing.T, next <-chan struct{}) string {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		switch r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):] {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				control.Flush()
				select {
				case <-next:
				case <-r.Context().Done():
					return
				}
			}
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "ok")
		case "/trailers":
			w.Header().Set("Trailer", "X-Got")
			n, _ := io.Copy(w, r.Body)
			w.Header().Set("X-Got", fmt.Sprintf("%d %s", n, r.Trailer.Get("X-Sent")))
			w.Header().Set(http.TrailerPrefix+"X-Late", "1")
		case "/echo", "/sized":
			if strings.HasSuffix(r.URL.Path, "/sized") {
				w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
			}
			_ = control.EnableFullDuplex() // HTTP/2 always has it
			buf := make([]byte, 64<<10)
			for {
				n, err := r.Body.Read(buf)
				if _, failed := w.Write(buf[:n]); failed != nil || err != nil {
					return
				}
				control.Flush()
			}
		}
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetHTTP1(true)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	return up.URL
}

// version is a client's way to a route, and the route's to its upstream.
type version struct {
	*http.Client
	*server
	url, key string
	major    int           // of the client's HTTP
	next     chan struct{} // of streams
}

// startBothVersions starts a node with the routes /one/ and /two/, which speak HTTP/1.1 and
// HTTP/2 with the upstream up.
func startBothVersions(t *testing.T, up string, secure bool) *server {
	t.Helper()
	config := fmt.Sprintf("[[proxy.routes]]\npath = \"/one/\"\nupstreams = [%q]\n[[proxy.routes]]\npath = \"/two/\"\nupstreams = [%q]\n", up, strings.Replace(up, "http", "h2c", 1))
	if secure {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		harness.WriteCertificate(t, cert, key, "one")
		config += fmt.Sprintf("[proxy.tls]\ncert_file = %q\nkey_file = %q\n", cert, key)
	}
	return start(t, options{config: config})
}

// inEachVersion runs f for each version of HTTP on either side, in plaintext and over TLS.
func inEachVersion(t *testing.T, f func(*testing.T, *version)) {
	for _, secure := range []bool{false, true} {
		next := make(chan struct{})
		up := streams(t, next)
		s := startBothVersions(t, up, secure)
		key, _ := s.create(nil)
		for major := 1; major <= 2; major++ {
			p := new(http.Protocols)
			p.SetHTTP1(major == 1)
			p.SetHTTP2(major == 2 && secure)
			p.SetUnencryptedHTTP2(major == 2 && !secure)
			client := &http.Client{Timeout: startTimeout, Transport: &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			t.Cleanup(client.CloseIdleConnections)
			for _, route := range []string{"one", "two"} {
				t.Run(fmt.Sprintf("HTTP/%d, TLS %v, upstream %s", major, secure, route), func(t *testing.T) {
					f(t, &version{client, s, s.proxy + "/" + route, key, major, next})
				})
			}
		}
	}
}

// send sends a request with a body, nil for none, and fails unless the answer is a 200 of
// the client's version.
func (v *version) send(t *testing.T, path string, body io.Reader, change func(*http.Request) *http.Request) *http.Response {
	t.Helper()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequest(method, v.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+v.key)
	if change != nil {
		r = change(r)
	}
	res, err := v.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.ProtoMajor != v.major {
		t.Fatalf("%s %s", res.Proto, res.Status)
	}
	return res
}

// Server-sent events arrive one by one.
func TestEventStream(t *testing.T) {
	inEachVersion(t, func(t *testing.T, v *version) {
		br := bufio.NewReader(v.send(t, "/events", nil, nil).Body)
		for i := range 3 {
			line, err := br.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("event %d: %q, %v", i, line, err)
			}
			br.ReadString('\n')
			v.next <- struct{}{} // the upstream goes on only now: nothing was buffered
		}
	})
}

// Interim answers and trailers pass, the latter both ways.
func TestHintsAndTrailers(t *testing.T) {
	inEachVersion(t, func(t *testing.T, v *version) {
		var hints []string
		res := v.send(t, "/hints", nil, func(r *http.Request) *http.Request {
			return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprintf("%d %s", code, h.Get("Link")))
				return nil
			}}))
		})
		if got, err := io.ReadAll(res.Body); string(got) != "ok" || err != nil || len(hints) != 1 || hints[0] != "103 </a.css>; rel=preload" {
			t.Errorf("%q, %v; interim answers %q", got, err, hints)
		}
		res = v.send(t, "/trailers", struct{ io.Reader }{strings.NewReader("hello")}, func(r *http.Request) *http.Request {
			r.Trailer = http.Header{"X-Sent": {"by the client"}}
			return r
		})
		got, err := io.ReadAll(res.Body)
		if string(got) != "hello" || err != nil || res.Trailer.Get("X-Got") != "5 by the client" || res.Trailer.Get("X-Late") != "1" {
			t.Errorf("%q, %v; trailer %v", got, err, res.Trailer)
		}
	})
}

// large is the size of bodies that must not be held in memory: 64 MiB, or a gigabyte with
// PERFGATE_TORTURE.
func large() int64 {
	if os.Getenv("PERFGATE_TORTURE") != "" {
		return 1 << 30
	}
	return 64 << 20
}

// grownBy bounds what such a body may add to the memory of the process, whatever its size.
const grownBy = 16 << 20

// A body passes both ways at once, with its length and in chunks, and the process holds no
// more than a few pieces of it.
func TestLargeBodies(t *testing.T) {
	inEachVersion(t, func(t *testing.T, v *version) {
		for _, sized := range []bool{true, false} {
			before, seed, path := v.forgetPeak(), [32]byte{1: 7}, "/echo"
			if sized {
				path = "/sized"
			}
			sent, got := sha256.New(), sha256.New()
			start := time.Now()
			v.Timeout = 10 * time.Minute
			res := v.send(t, path, io.TeeReader(io.LimitReader(rand.NewChaCha8(seed), large()), sent), func(r *http.Request) *http.Request {
				if sized {
					r.ContentLength = large()
				}
				return r
			})
			n, err := io.Copy(got, res.Body)
			if n != large() || err != nil || string(got.Sum(nil)) != string(sent.Sum(nil)) || sized != (res.ContentLength == large()) {
				t.Errorf("sized %v: %d octets came back, of %d, %v", sized, n, res.ContentLength, err)
			}
			grown := v.peak() - before
			t.Logf("sized %v: %d MiB up and down in %v, memory grew by %d KiB at most", sized, large()>>20, time.Since(start).Round(time.Millisecond), grown>>10)
			if grown > grownBy {
				t.Errorf("sized %v: memory grew by %d KiB for a body of %d MiB", sized, grown>>10, large()>>20)
			}
		}
	})
}
