package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// endless is a body that never ends, and counts what was read of it.
type endless struct{ read, closed chan bool }

func newEndless() endless { return endless{make(chan bool, 1), make(chan bool, 1)} }

func (e endless) Read(p []byte) (int, error) {
	select {
	case e.read <- true:
	default:
	}
	clear(p)
	return len(p), nil
}

func (e endless) Close() error {
	select {
	case e.closed <- true:
	default:
	}
	return nil
}

// An answer that comes and ends before the body has been sent stops the upload: its
// connection is closed.
func TestClientEarlyAnswer(t *testing.T) {
	for name, answer := range map[string]string{"with a body": okay, "without": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "in chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
				http.ReadRequest(br)
				io.WriteString(c, answer)
				io.Copy(io.Discard, br)
			})
			tr, body := newTransport(t), newEndless()
			if status, _, err := roundTrip(tr, newRequest(t, "POST", u.url, body)); status != 200 || err != nil {
				t.Fatalf("status %d, %v", status, err)
			}
			within(t, "the end of the upload", body.closed)
			if status, _, err := roundTrip(tr, newRequest(t, "GET", u.url, nil)); status != 200 || err != nil || u.conns.Load() != 2 {
				t.Errorf("after it: status %d, %v, %d connections", status, err, u.conns.Load())
			}
		})
	}
}

// An upstream that refuses a body and does not read it resets the connection. Its answer
// arrives all the same.
func TestRefusedUpload(t *testing.T) {
	for range 20 {
		u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
			http.ReadRequest(br)
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
			c.(*net.TCPConn).CloseWrite()
			br.Discard(1 << 20)
		})
		if status, text, err := roundTrip(newTransport(t), newRequest(t, "POST", u.url, newEndless())); status != 413 || text != "no" || err != nil {
			t.Fatalf("status %d, %q, %v", status, text, err)
		}
	}
}

// The answer is read while the request is still being written.
func TestBothDirectionsAtOnce(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			p := make([]byte, 100)
			for {
				n, err := req.Body.Read(p)
				if n > 0 {
					fmt.Fprintf(c, "%x\r\n%s\r\n", n, p[:n])
				}
				if err != nil {
					break
				}
			}
			io.WriteString(c, "0\r\n\r\n")
		}
	})
	tr := newTransport(t)
	for range 2 {
		in, out := io.Pipe()
		res, err := tr.RoundTrip(newRequest(t, "POST", u.url, in))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			want := fmt.Sprint("ping", i)
			io.WriteString(out, want)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
		out.Close()
		if rest, err := io.ReadAll(res.Body); len(rest) != 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		eventually(t, "the connection is idle", func() bool { return idleIsQuiet(tr) })
	}
	if n := u.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A body that cannot be read to its end leaves the upstream with a request that is broken
// off, and is the error that is returned.
func TestBrokenUploads(t *testing.T) {
	errBody := errors.New("the client has left")
	for _, tt := range []struct {
		name string
		body io.Reader
		len  int64
		want error
	}{
		{"error", io.MultiReader(strings.NewReader("part"), readerFunc(func([]byte) (int, error) { return 0, errBody })), -1, errBody},
		{"error at once", readerFunc(func([]byte) (int, error) { return 0, errBody }), 10, errBody},
		{"short", strings.NewReader("part"), 5, errShortBody},
		{"long", strings.NewReader("part"), 3, errLongBody},
		{"stuck", readerFunc(func([]byte) (int, error) { return 0, nil }), 3, io.ErrNoProgress},
	} {
		whole := make(chan bool, 1)
		u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
			req, err := http.ReadRequest(br)
			if err == nil {
				_, err = io.ReadAll(req.Body)
			}
			whole <- err == nil
		})
		if tt.name == "stuck" {
			tt.body = io.MultiReader(strings.NewReader("abc"), tt.body)
		}
		req := newRequest(t, "PUT", u.url, streamed{tt.body})
		req.ContentLength = tt.len
		if _, _, err := roundTrip(newTransport(t), req); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if within(t, "the end at the upstream", whole) {
			t.Errorf("%s: the upstream has taken it for whole", tt.name)
		}
	}
}

// interims collects the interim responses of req.
func interims(req *http.Request, got *[]string) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			*got = append(*got, fmt.Sprint(code, h["Link"]))
			return nil
		},
	}))
}

func TestClientInterimResponses(t *testing.T) {
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	for n, good := range map[int]bool{0: true, 2: true, maxInterim - 1: true, maxInterim: false, 3000: false} {
		u := newUpstream(t, replying(strings.Repeat(hint, n)+okay))
		var got []string
		status, body, err := roundTrip(newTransport(t), interims(newRequest(t, "GET", u.url, nil), &got))
		if good && (status != 200 || body != "ok" || len(got) != n || n > 0 && got[0] != "103 [x]") {
			t.Errorf("%d: status %d, %q, %v, %q", n, status, body, err, got)
		}
		if !good && (!errors.Is(err, errInterim) || len(got) > maxInterim) {
			t.Errorf("%d: status %d, %v, %d interim responses", n, status, err, len(got))
		}
	}
}

// A body waits for the 100 that its request asks for, and is never sent if the answer
// comes first.
func TestClientExpectContinue(t *testing.T) {
	read := make(chan bool, 1)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			switch req.URL.Path {
			case "/yes":
				if br.Buffered() > 0 {
					t.Error("the body did not wait")
				}
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			case "/no":
				io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			if b, err := io.ReadAll(req.Body); string(b) != "body" {
				t.Errorf("%q, %v", b, err)
			}
			io.WriteString(c, okay)
		}
	})
	tr := newTransport(t)
	expecting := func(path string) *http.Request {
		body := io.MultiReader(readerFunc(func([]byte) (int, error) { read <- true; return 0, io.EOF }), strings.NewReader("body"))
		return withHeader(newRequest(t, "POST", u.url+path, streamed{body}), "Expect", "100-Continue")
	}
	var got []string
	fetch(t, tr, interims(expecting("/yes"), &got), "ok")
	if within(t, "the body is read", read); len(got) != 1 || got[0] != "100 []" {
		t.Errorf("interim responses %q", got)
	}
	eventually(t, "the connection is idle", func() bool { return idleIsQuiet(tr) })
	if status, _, err := roundTrip(tr, expecting("/no")); status != 417 || err != nil || len(read) > 0 {
		t.Errorf("status %d, %v; the body was read: %v", status, err, len(read) > 0)
	}
	tr.ExpectContinueTimeout = time.Millisecond
	fetch(t, tr, expecting("/silent"), "ok")
	if n := u.conns.Load(); n != 2 {
		t.Errorf("%d connections: one whose body was not sent cannot be used again", n)
	}
}

func TestClientUpgrade(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		http.ReadRequest(br)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
		io.Copy(c, br)
	})
	upgrade := func() *http.Request {
		return withHeader(withHeader(newRequest(t, "GET", u.url, nil), "Connection", "keep-alive, Upgrade"), "Upgrade", "echo")
	}
	tr := newTransport(t)
	res, err := tr.RoundTrip(upgrade())
	if err != nil {
		t.Fatal(err)
	}
	rw, ok := res.Body.(io.ReadWriteCloser)
	if res.StatusCode != 101 || !ok || res.Header.Get("Upgrade") != "echo" {
		t.Fatalf("%+v", res)
	}
	io.WriteString(rw, "you")
	rw.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(rw); string(got) != "hello you" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	rw.Close()
	ctx, cancel := context.WithCancel(t.Context())
	if res, err = tr.RoundTrip(upgrade().WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a tunnel outlives its context")
	}
	res.Body.Close()
	half := upgrade()
	half.Method, half.Body, half.ContentLength = "POST", newEndless(), -1
	if _, _, err := roundTrip(tr, half); !errors.Is(err, errHalfAsked) {
		t.Errorf("in the middle of a body: %v", err)
	}
}
