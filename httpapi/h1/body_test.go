package h1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

const post = "POST / HTTP/1.1\r\nHost: a\r\n"

// A handler reads a body with its trailer; the trailer is no header.
func TestBody(t *testing.T) {
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if !reflect.DeepEqual(r.Trailer, http.Header{"X-A": {"1"}, "X-B": {"2"}}) || r.Header["X-A"] != nil || r.ContentLength != -1 {
			t.Errorf("trailer %q, header %q, length %d", r.Trailer, r.Header, r.ContentLength)
		}
		if _, again := r.Body.Read(make([]byte, 1)); again != io.EOF {
			t.Errorf("after the end: %v", again)
		}
		r.Body.Close()
		if _, err := r.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
			t.Errorf("after Close: %v", err)
		}
		if string(b) != "abc" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}))
	talk(t, addr, post+"Transfer-Encoding: chunked\r\nTrailer: X-A\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
}

// A body that breaks is an error of the handler's read, of its own type if the client
// sent it so. The answer ends the connection, and nothing after the fault is a request.
func TestBrokenBodies(t *testing.T) {
	errs := make(chan error, 1)
	s := answering(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		if _, again := r.Body.Read(make([]byte, 1)); again != err {
			t.Errorf("%v, and then %v", err, again)
		}
		errs <- err
		w.WriteHeader(400)
	})
	counted := make(chan *Error, 1)
	s.Fault = func(e *Error) { counted <- e }
	addr := serve(t, s)
	for body, want := range map[string]error{
		"3\r\nabcd\r\n":             errChunkEnd,
		"-1\r\n":                    errChunkSize,
		"1;bad[\r\na\r\n0\r\n\r\n":  errChunkExt,
		"0\r\nHost : b\r\n\r\n":     errFieldSpace,
		"1\r\na\r\n0\r\nnone\r\n\r": errFieldColon,
	} {
		got := undated(t, talk(t, addr, post+"Transfer-Encoding: chunked\r\n\r\n"+body+get+"\r\n"))
		if err := <-errs; err != want || <-counted != want {
			t.Errorf("%q: %v, want %v", body, err, want)
		}
		if want := "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"; got != want {
			t.Errorf("%q is answered %q", body, got)
		}
	}
	for framing, body := range map[string]string{"Content-Length: 4": "abc", "Transfer-Encoding: chunked": "3\r\nabc\r\n"} {
		c, br := dial(t, addr)
		io.WriteString(c, post+framing+"\r\n\r\n"+body)
		c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(br)
		if err := <-errs; err != io.ErrUnexpectedEOF || !strings.Contains(string(got), closing) {
			t.Errorf("an early end of %s: %v, answer %q", framing, err, got)
		}
	}
}

// A body that the handler leaves is read after the answer, if it is short and sound;
// otherwise the connection ends, and the client can read the answer before that.
func TestUnreadBodies(t *testing.T) {
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }))
	const next, chunked = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name, text   string
		close, again bool // announced, and the next request is answered
	}{
		{"short", "Content-Length: 3\r\n\r\nabc", false, true},
		{"chunked", chunked + "3\r\nabc\r\n0\r\nA: b\r\n\r\n", false, true},
		{"of 200 KiB", "Content-Length: 204800\r\n\r\n" + strings.Repeat("x", 200<<10), false, true},
		{"of 1 MiB", "Content-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20), true, false},
		{"1 MiB, chunked", chunked + "100000\r\n" + strings.Repeat("x", 1<<20) + "\r\n0\r\n\r\n", false, false},
		{"broken", chunked + "3\r\nabcd\r\n0\r\n\r\n", false, false},
	} {
		c, br := dial(t, addr)
		go io.WriteString(c, post+tt.text+next) // fails when the server closes before it has read all
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "/" || err != nil || res.Close != tt.close {
			t.Errorf("%s: %q, %v, close %v", tt.name, b, err, res.Close)
		}
		if rest, err := io.ReadAll(br); strings.Contains(string(rest), "/next") != tt.again || err != nil {
			t.Errorf("%s: then comes %q, %v", tt.name, rest, err)
		}
	}
}

// A client that is slow with a body that nobody reads is not waited for for ever.
func TestSlowUnreadBody(t *testing.T) {
	s := answering(func(http.ResponseWriter, *http.Request) {})
	s.LingerTime = 50 * time.Millisecond
	c, br := dial(t, serve(t, s))
	io.WriteString(c, post+"Content-Length: 3\r\n\r\na")
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.Close {
		t.Fatal(res, err)
	}
	if rest, err := io.ReadAll(br); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// The 100 comes when the handler reads, unless the body is there already or the client
// is of HTTP/1.0. A handler that does not read ends the connection.
func TestExpectContinue(t *testing.T) {
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unread" {
			w.WriteHeader(403)
			return
		}
		echoing(w, r)
	}))
	const fields = "Host: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"
	c, br := dial(t, addr)
	io.WriteString(c, "POST / HTTP/1.1\r\n"+fields)
	line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(br, line); err != nil || string(line) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	io.WriteString(c, "abc")
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 200 || res.Close {
		t.Error(res, err)
	}
	if got := undated(t, talk(t, addr, "POST / HTTP/1.1\r\nConnection: close\r\n"+fields+"abc")); got != answer+closing+"\r\nPOST / abc" {
		t.Errorf("with the body: %q", got)
	}
	if got := undated(t, talk(t, addr, "POST / HTTP/1.0\r\n"+fields+"abc")); got != answer+closing+"\r\nPOST / abc" {
		t.Errorf("of HTTP/1.0: %q", got)
	}
	if got := undated(t, talk(t, addr, "POST /unread HTTP/1.1\r\n"+fields)); got != "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n"+closing+"\r\n" {
		t.Errorf("that nobody reads: %q", got)
	}
}

// A body may be read during the answer, also by another goroutine, and one that still
// reads when the handler returns is stopped.
func TestFullDuplex(t *testing.T) {
	stopped := make(chan error, 1)
	s := answering(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		p := make([]byte, 4)
		for range 3 {
			n, err := io.ReadFull(r.Body, p)
			w.Write(p[:n])
			if err := errors.Join(err, rc.Flush()); err != nil {
				t.Error(err)
			}
		}
		reading := make(chan bool)
		go func() {
			close(reading)
			_, err := r.Body.Read(p)
			stopped <- err
		}()
		<-reading
	})
	s.LingerTime = 50 * time.Millisecond
	c, br := dial(t, serve(t, s))
	io.WriteString(c, post+"Transfer-Encoding: chunked\r\n\r\n")
	for i := range 3 {
		io.WriteString(c, "4\r\nping\r\n")
		if i == 0 {
			if _, err := br.Discard(1); err != nil {
				t.Fatal(err)
			}
			for line := ""; line != "\r\n"; line, _ = br.ReadString('\n') {
			}
		}
		p := make([]byte, len("4\r\nping\r\n"))
		if _, err := io.ReadFull(br, p); err != nil || string(p) != "4\r\nping\r\n" {
			t.Fatalf("%q, %v", p, err)
		}
	}
	if rest, err := io.ReadAll(br); string(rest) != "0\r\n\r\n" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if err := within(t, "the end of the read", stopped); err == nil {
		t.Error("a read after the answer succeeds")
	}
}

// The deadline of a handler ends its read of the body.
func TestReadDeadline(t *testing.T) {
	addr := serve(t, answering(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		echoing(w, r)
	}))
	got := undated(t, talk(t, addr, post+"Content-Length: 3\r\n\r\na"))
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, closing) {
		t.Errorf("%q", got)
	}
}
