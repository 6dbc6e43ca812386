package h1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// loopedUpstream answers each request with its path, and then does something to the connection.
func loopedUpstream(t *testing.T, after func(c *net.TCPConn, path string)) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				br := bufio.NewReader(nc)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					after(nc.(*net.TCPConn), r.URL.Path+string(body))
				}
			}()
		}
	}()
	return Target{"http", ln.Addr().String()}
}

// carrying is a lane that sends each request to an upstream, with its body, and passes on
// status and content.
func carrying(t *testing.T, tr *Transport, to Target) *Server {
	return laning(func(x *Exchange) {
		q := x.Request()
		call := &Call{Target: to, Method: q.Method, Path: q.Path, Host: "a", Fields: new(Fields), Client: x}
		if body := x.Body(); body != nil {
			call.Payload = Payload{Body: io.NopCloser(body), Length: q.Length}
			if ready, ok := body.(ReadyReader); ok {
				call.Body = readyBody{body, ready}
			}
		}
		res, err := tr.Do(x.Context(), call)
		if err != nil {
			x.answer(502, err.Error())
			return
		}
		defer res.Body.Close()
		x.Begin(res.Status, new(Fields), nil, res.Length)
		if _, err := io.Copy(x, res.Body); err != nil {
			t.Error(err)
		}
	})
}

type readyBody struct {
	io.Reader
	ready ReadyReader
}

func (b readyBody) ReadReady(p []byte) (int, error) { return b.ready.ReadReady(p) }
func (b readyBody) Close() error                    { return nil }

func answerWith(content string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content)
}

// Whatever an upstream does to its connections, each request gets its own answer, in both
// engines, on connections of clients that are kept.
func TestUpstreamsOfKeptClients(t *testing.T) {
	answered, strayed, closed := make(chan bool), make(chan bool), make(chan bool)
	afterEach := map[string]func(){
		"sends surplus octets later": func() { answered <- true; <-strayed },
		// A POST that arrives between the answer and the close may have been read: it gets a 502.
		"closes it": func() { <-closed },
	}
	long := strings.Repeat("0123456789abcdef", 20<<10)
	for _, tt := range []struct {
		name  string
		after func(c *net.TCPConn, path string)
		more  string // content after the path
	}{
		{name: "keeps it", after: func(c *net.TCPConn, path string) { io.WriteString(c, answerWith(path)) }},
		{name: "closes it", after: func(c *net.TCPConn, path string) { io.WriteString(c, answerWith(path)); c.Close(); closed <- true }},
		{name: "resets it", after: func(c *net.TCPConn, path string) {
			io.WriteString(c, strings.Replace(answerWith(path), "\r\n", "\r\nConnection: close\r\n", 1))
			c.SetLinger(0)
			<-time.After(time.Millisecond) // a reset overtakes what was not read
			c.Close()
		}},
		{name: "sends surplus octets at once", after: func(c *net.TCPConn, path string) { io.WriteString(c, answerWith(path)+answerWith("stray")) }},
		{name: "sends surplus octets later", after: func(c *net.TCPConn, path string) {
			io.WriteString(c, answerWith(path))
			<-answered
			io.WriteString(c, answerWith("stray"))
			strayed <- true
		}},
		{name: "answers in pieces", after: func(c *net.TCPConn, path string) {
			for p := range slices.Chunk([]byte(answerWith(path)), 16) {
				c.Write(p)
				<-time.After(time.Millisecond)
			}
		}},
		{name: "answers late", after: func(c *net.TCPConn, path string) {
			<-time.After(200 * time.Millisecond) // the task has left its loop
			io.WriteString(c, answerWith(path))
		}},
		{name: "sends interim answers", after: func(c *net.TCPConn, path string) {
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
			<-time.After(time.Millisecond)
			io.WriteString(c, answerWith(path))
		}},
		{name: "answers at length", more: long, after: func(c *net.TCPConn, path string) { io.WriteString(c, answerWith(path+long)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTransport(t)
			addr := serve(t, carrying(t, tr, loopedUpstream(t, tt.after)))
			var all sync.WaitGroup
			for client := range 4 {
				if afterEach[tt.name] != nil && client > 0 {
					break
				}
				all.Go(func() { keepAsking(t, addr, client, tt.more, afterEach[tt.name]) })
			}
			all.Wait()
		})
	}
}

// keepAsking sends requests on one connection, and calls afterEach, which may be nil, after each.
func keepAsking(t *testing.T, addr net.Addr, client int, more string, afterEach func()) {
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(c)
	for i := range 10 {
		method, path, body := "GET", fmt.Sprintf("/%d/%d", client, i), ""
		if i%2 == 1 {
			method, body = "POST", fmt.Sprint("-body-", i)
		}
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
			return
		}
		got, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || string(got) != path+body+more {
			t.Errorf("%s %s: %d, %d octets, %.60q, %v", method, path, res.StatusCode, len(got), got, err)
			return
		}
		if afterEach != nil {
			afterEach()
		}
	}
}
