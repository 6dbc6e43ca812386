package h1

import (
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// laning is a server whose Lane serves every request but those for /handler.
func laning(serve func(*Exchange)) *Server {
	return &Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "handler") }),
		Lane: func(q *Request) func(*Exchange) {
			if q.Path == "/handler" {
				return nil
			}
			return serve
		},
	}
}

// answer answers with a text of known length.
func (x *Exchange) answer(status int, text string, fields ...string) {
	f := new(Fields)
	for i := 0; i < len(fields); i += 2 {
		f.Add(fields[i], fields[i+1])
	}
	x.Begin(status, f, []byte("X-Line: 1\r\n"), int64(len(text)))
	io.WriteString(x, text)
}

// The answers of Lane on the wire. Requests of one connection do not see each other.
func TestLane(t *testing.T) {
	whole := func(x *Exchange) {
		body := ""
		if b := x.Body(); b != nil {
			p, err := io.ReadAll(b)
			if err != nil {
				x.answer(400, err.Error())
				return
			}
			body = string(p)
		}
		q := x.Request()
		x.answer(200, q.Method+" "+q.Path+"|"+q.Query+" "+body+q.Trailer.Get("X-T"))
	}
	pieces := func(x *Exchange) {
		x.Begin(200, &Fields{[]string{"Trailer"}, []string{"X-T"}}, nil, -1)
		io.WriteString(x, "ab")
		x.Flush()
		io.WriteString(x, "c")
		x.End(&Fields{[]string{"X-T", "Host"}, []string{"1", "no"}})
	}
	const okay = "HTTP/1.1 200 OK\r\nX-Line: 1\r\n"
	for _, tt := range []struct {
		name  string
		serve func(*Exchange)
		send  string
		want  string
	}{
		{"two requests and a handler's between", whole, get + "\r\nGET /handler HTTP/1.1\r\nHost: a\r\n\r\nGET /b?c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			okay + "Content-Length: 7\r\n\r\nGET /| HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhandler" + okay + "Content-Length: 9\r\nConnection: close\r\n\r\nGET /b|c "},
		{"a body in chunks with a trailer", whole, post + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\nX-T: y\r\n\r\n",
			okay + "Content-Length: 10\r\nConnection: close\r\n\r\nPOST /| xy"},
		{"a body that breaks", whole, post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + get + "\r\n",
			"HTTP/1.1 400 Bad Request\r\nX-Line: 1\r\nContent-Length: 69\r\nConnection: close\r\n\r\n" + errChunkSize.Message},
		{"an expectation", whole, post + "Content-Length: 1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nx",
			okay + "Content-Length: 9\r\nConnection: close\r\n\r\nPOST /| x"},
		{"HEAD", whole, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", okay + "Content-Length: 8\r\nConnection: close\r\n\r\n"},
		{"pieces", pieces, get + "Connection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nConnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n"},
		{"pieces to HTTP/1.0", pieces, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"},
		{"interim answers", func(x *Exchange) {
			x.Interim(103, &Fields{[]string{"Link"}, []string{"</a>"}})
			x.Interim(100, new(Fields))
			x.answer(204, "", "Connection", "close", "Transfer-Encoding", "gzip", "X-A", "1\r\nX-B: 2")
		}, get + "\r\n" + get + "\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nX-A: 1  X-B: 2\r\nX-Line: 1\r\nConnection: close\r\n\r\n"},
	} {
		if got := undated(t, talk(t, serve(t, laning(tt.serve)), tt.send)); got != tt.want {
			t.Errorf("%s:\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
}

// An answer that breaks off, or that never began, does not look whole.
func TestLaneBreaksOff(t *testing.T) {
	for name, serveIt := range map[string]func(*Exchange){
		"a panic":   func(x *Exchange) { x.answer(200, "abc"); panic(http.ErrAbortHandler) },
		"too short": func(x *Exchange) { x.Begin(200, new(Fields), nil, 4); io.WriteString(x, "abc") },
		"in chunks": func(x *Exchange) { x.Begin(200, new(Fields), nil, -1); x.Flush(); panic(http.ErrAbortHandler) },
		"no answer": func(*Exchange) {},
	} {
		c, br := dial(t, serve(t, laning(serveIt)))
		io.WriteString(c, get+"\r\n")
		res, err := http.ReadResponse(br, nil)
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if err == nil && name != "a panic" { // there, all that was announced may have been sent
			t.Errorf("%s: the answer looks whole", name)
		}
		if _, err := br.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
}

// OnLeave is called once the client has left, and not for another request.
func TestOnLeave(t *testing.T) {
	begun, left := make(chan bool, 1), make(chan bool, 1)
	addr := serve(t, laning(func(x *Exchange) {
		if x.Request().Path == "/stay" {
			x.OnLeave(func() { t.Error("a client that stays has left") })
			x.answer(200, "")
			return
		}
		gone := make(chan bool)
		x.OnLeave(func() { close(gone) })
		begun <- x.Left()
		WillWait(x.Context())
		<-gone
		left <- x.Left()
	}))
	c, br := dial(t, addr)
	io.WriteString(c, "GET /stay HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, get+"\r\n")
	if within(t, "the request", begun) {
		t.Error("the client has left before it did")
	}
	c.Close()
	if !within(t, "the end of the request", left) {
		t.Error("the client has not left")
	}
}

// OnLeave waits for a call of the function that it takes back: what belongs to the exchange
// may be used for another one after it.
func TestOnLeaveWaits(t *testing.T) {
	var x Exchange
	begun, end, over := make(chan bool), make(chan bool), make(chan bool)
	finished := false
	x.OnLeave(func() {
		begun <- true
		<-end
		finished = true
	})
	go x.clientLeft()
	<-begun
	go func() {
		x.OnLeave(nil)
		if !finished {
			t.Error("the function still runs")
		}
		close(over)
	}()
	runtime.Gosched()
	close(end)
	within(t, "OnLeave", over)
}

// A connection that is taken over has the octets that came early.
func TestLaneHijack(t *testing.T) {
	addr := serve(t, laning(func(x *Exchange) {
		nc, br, err := x.Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		line, err := br.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		io.WriteString(nc, strings.ToUpper(line))
	}))
	if got := talk(t, addr, get+"\r\nearly\n"); got != "EARLY\n" {
		t.Errorf("%q", got)
	}
}

func TestFields(t *testing.T) {
	var f Fields
	list := func() string {
		var b strings.Builder
		for name, v := range f.All() {
			b.WriteString(name + "=" + v + " ")
		}
		return b.String()
	}
	for _, line := range []string{"A", "B", "A", "C", "A"} {
		f.Add(line, string(rune('0'+f.Len())))
	}
	if got := f.Values("A"); !slices.Equal(got, []string{"0", "2", "4"}) || f.Get("C") != "3" || f.Get("D") != "" || !f.Has("B") || f.Has("D") || f.Values("D") != nil {
		t.Errorf("%s: %q", list(), got)
	}
	one := f.Values("B")
	if _ = append(one, "x"); f.Get("C") != "3" {
		t.Error("a slice of values leads to another line")
	}
	f.RenameAt(1, "E")
	f.DeleteAt(2)
	f.SetAt(2, "c")
	f.Del("A")
	if got := list(); got != "E=1 C=c " {
		t.Errorf("after changes: %s", got)
	}
	f.Set("E", "e")
	f.DeleteFunc(func(name, _ string) bool { return name == "C" })
	if got := list(); got != "E=e " {
		t.Errorf("after more changes: %s", got)
	}
	h := http.Header{"A": {"1", "2"}, "B": {"3"}}
	if f = FieldsOf(h); len(f.Header()) != 2 || !slices.Equal(f.Header()["A"], h["A"]) {
		t.Errorf("%v became %v", h, f.Header())
	}
	if f.Reset(); f.Len() != 0 {
		t.Errorf("%s is left", list())
	}
}

// Heads that are read one after the other into the same request share nothing.
func TestRequestIsReset(t *testing.T) {
	c := &conn{}
	var q Request
	for text, want := range map[string]string{
		"POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: t\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n": "POST /a b true -1 T true true",
		"GET / HTTP/1.0\r\n\r\n": "GET /  false 0  true false",
	} {
		for range 2 {
			q.reset(c)
			s := requestScanner()
			head, err := readHead(inputOf(strings.NewReader(text)), &s)
			if err != nil || q.parse(head) != nil {
				t.Fatalf("%q: %v", text, err)
			}
			got := strings.Join([]string{q.Method, q.Path, q.Query, map[bool]string{true: "true", false: "false"}[q.Asked],
				map[int64]string{-1: "-1", 0: "0"}[q.Length], strings.Join(q.Announced, ","), map[bool]string{true: "true", false: "false"}[q.close],
				map[bool]string{true: "true", false: "false"}[q.expect]}, " ")
			if got != want {
				t.Errorf("%q: %s, want %s", text, got, want)
			}
		}
	}
}
