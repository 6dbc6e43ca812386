package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answers are what handlers do, with the octets that come of it after a GET. $1 is a
// field in between whose order is not fixed.
var answers = []struct {
	name   string
	do     http.HandlerFunc
	want   string // to HTTP/1.1, and before the connection closes to an HTTP/1.0 without keep-alive
	want10 string // to HTTP/1.0; "" is the same, and the connection closes
	head   string // to HEAD
}{
	{"nothing", func(http.ResponseWriter, *http.Request) {},
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "HTTP/1.1 200 OK\r\n\r\n"},
	{"short", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ab"); io.WriteString(w, "c") },
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"},
	{"declared", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(201)
		io.WriteString(w, "abc")
		io.WriteString(w, "too much")
	}, "HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc", "", "HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\n"},
	{"a bad length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "+3")
		io.WriteString(w, "abc")
	}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"},
	{"flushed", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "abc")
		w.(http.Flusher).Flush()
		io.WriteString(w, "d")
	}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n" + closing + "\r\nabcd", "HTTP/1.1 200 OK\r\n\r\n"},
	{"long", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "gzip, chunked")
		io.WriteString(w, strings.Repeat("x", holdBytes+1))
	}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n801\r\n" + strings.Repeat("x", holdBytes+1) + "\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + closing + "\r\n" + strings.Repeat("x", holdBytes+1), "HTTP/1.1 200 OK\r\nContent-Length: 2049\r\n\r\n"},
	{"trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "x-a, Content-Length, X-Not-Set")
		io.WriteString(w, "abc")
		w.Header().Set("X-A", "1\r\nX: y")
		w.Header().Set("X-Late", "no trailer")
	}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\nTrailer: X-Not-Set\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1  X: y\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + closing + "\r\nabc", "HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTrailer: X-Not-Set\r\n\r\n"},
	{"a trailer that was not announced", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "abc")
		w.Header().Set(http.TrailerPrefix+"x-a", "1")
		w.Header().Set(http.TrailerPrefix+"Host", "1")
	}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + closing + "\r\nabc", "HTTP/1.1 200 OK\r\n\r\n"},
	{"early hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.WriteHeader(100) // is the server's
		w.Header().Del("Link")
		w.WriteHeader(200)
		w.WriteHeader(500)
	}, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + closing + "\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"},
	{"204", noContent(204), "HTTP/1.1 204 No Content\r\n\r\n", "", "HTTP/1.1 204 No Content\r\n\r\n"},
	{"205", noContent(205), "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"},
	{"304", noContent(304), "HTTP/1.1 304 Not Modified\r\n\r\n", "", "HTTP/1.1 304 Not Modified\r\n\r\n"},
	{"a status without a name", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
		"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n", "", "HTTP/1.1 599 \r\n\r\n"},
	{"fields that end their line", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["A"] = []string{"b\r\n\r\nc"}
		w.Header()["D\r\nE"] = []string{"f"}
	}, "HTTP/1.1 200 OK\r\nA: b    c\r\nContent-Length: 0\r\n\r\n", "", "HTTP/1.1 200 OK\r\nA: b    c\r\n\r\n"},
}

const closing = "Connection: close\r\n"

// noContent answers with a status that has none, and tries to send some.
func noContent(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(status)
		io.WriteString(w, "abc")
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range answers {
		addr := serve(t, answering(tt.do))
		last := func(text string) string { // the last head has Connection: close
			i := strings.LastIndex(text, "HTTP/1.1 ")
			head, content, _ := strings.Cut(text[i:], "\r\n\r\n")
			return text[:i] + head + "\r\n" + closing + "\r\n" + content
		}
		const request, request10 = " / HTTP/1.1\r\nHost: a\r\n", " / HTTP/1.0\r\n"
		if got, want := undated(t, talk(t, addr, "GET"+request+"\r\nGET"+request+closing+"\r\n")), tt.want+last(tt.want); got != want {
			t.Errorf("%s: two are\n%q, want\n%q", tt.name, got, want)
		}
		want10 := tt.want10
		if want10 == "" {
			want10 = last(tt.want)
		}
		if got := undated(t, talk(t, addr, "GET"+request10+"\r\n")); got != want10 {
			t.Errorf("%s: to HTTP/1.0\n%q, want\n%q", tt.name, got, want10)
		}
		if got, want := undated(t, talk(t, addr, "HEAD"+request+"\r\nHEAD"+request+closing+"\r\n")), tt.head+last(tt.head); got != want {
			t.Errorf("%s: to HEAD\n%q, want\n%q", tt.name, got, want)
		}
	}
}

// HTTP/1.0 keeps a connection if it asks for that and the answer has a length.
func TestKeepAlive10(t *testing.T) {
	addr := serve(t, answering(echoing))
	const keep = "Connection: keep-alive\r\n"
	got := undated(t, talk(t, addr, "GET /1 HTTP/1.0\r\n"+keep+"\r\nGET /2 HTTP/1.0\r\n\r\nGET /3 HTTP/1.0\r\n\r\n"))
	if want := "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n" + keep + "\r\nGET /1 HTTP/1.1 200 OK\r\nContent-Length: 7\r\n" + closing + "\r\nGET /2 "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	addr = serve(t, answering(func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }))
	got = undated(t, talk(t, addr, "GET /1 HTTP/1.0\r\n"+keep+"\r\nGET /2 HTTP/1.0\r\n\r\n"))
	if want := "HTTP/1.1 200 OK\r\n" + closing + "\r\n"; got != want {
		t.Errorf("of unknown length: %q, want %q", got, want)
	}
}

// A handler's own Connection and Date.
func TestOwnFields(t *testing.T) {
	addr := serve(t, answering(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Date", "yesterday")
	}))
	if got, want := talk(t, addr, get+"\r\n"), "HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n"+closing+"\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// An answer with less content than declared does not look whole, and one that panics
// half-way does not either, also where the end of the connection is that of the answer.
func TestBrokenAnswers(t *testing.T) {
	for name, do := range map[string]http.HandlerFunc{
		"too short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "abc")
		},
		"aborted": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"panicked": func(http.ResponseWriter, *http.Request) { panic("a test") },
	} {
		for _, version := range []string{"1.0", "1.1"} {
			c, br := dial(t, serve(t, answering(do)))
			io.WriteString(c, "GET / HTTP/"+version+"\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				continue
			}
			if b, err := io.ReadAll(res.Body); err == nil || name == "panicked" {
				t.Errorf("%s, HTTP/%s: %q looks whole", name, version, b)
			}
		}
	}
}

func TestDate(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, d := range []time.Duration{0, time.Millisecond, time.Second, 0} {
		if got, want := date(at.Add(d)), at.Add(d).Format(http.TimeFormat); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A status of other than three digits is the handler's mistake.
func TestImpossibleStatus(t *testing.T) {
	for _, status := range []int{0, 99, 1000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d is written", status)
				}
			}()
			w := newResponse(&conn{server: new(Server), bw: bufio.NewWriter(new(bytes.Buffer))}, new(Request), new(http.Request), nil)
			w.WriteHeader(status)
		}()
	}
}
