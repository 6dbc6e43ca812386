package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// pseudo is n octets that differ from place to place.
func pseudo(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

// mirrored is an upstream that answers with the body of the request, or with as many octets
// as the query says.
func mirrored(t *testing.T) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		if n, _ := strconv.Atoi(r.URL.RawQuery); n > 0 {
			body = pseudo(n)
		} else {
			body, _ = io.ReadAll(r.Body)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
}

// Bodies of every size arrive as they were sent, several on one connection, spliced or not,
// also beside a bound of the route. What is spliced is counted like what is not.
func TestSplicedBodies(t *testing.T) {
	for _, bound := range []string{"", "1MiB"} {
		r := newRig(t, Settings{}, Route{Path: "/", MaxBody: bound, Upstreams: []string{mirrored(t)}})
		c, br := r.dial()
		sizes := []int{1, 16 << 10, 127 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 163_841, 300_007, 1<<20 - 1, 1 << 20}
		if bound == "" {
			sizes = append(sizes, 5<<20+17)
		}
		for _, n := range sizes {
			body := pseudo(n)
			sent := make(chan bool, 1)
			go func() {
				fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: %d\r\n\r\n", n)
				c.Write(body)
				sent <- true
			}()
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			within(t, "the request is sent", sent)
			if res.StatusCode != 200 || err != nil || !bytes.Equal(got, body) {
				t.Errorf("bound %q, %d octets: status %d, %d octets came back, %v; equal: %v", bound, n, res.StatusCode, len(got), err, bytes.Equal(got, body))
			}
			if o := r.log.next(t); o.Trail.Sent != int64(n) {
				t.Errorf("%d octets of an answer were counted as %d", n, o.Trail.Sent)
			}
		}
		if bound != "" {
			for _, n := range []int{1<<20 + 1, 2 << 20} {
				if res := r.do("POST", "/", string(pseudo(n))); res.StatusCode != 413 {
					t.Errorf("%d octets against a bound of 1 MiB: status %d", n, res.StatusCode)
				}
			}
		}
	}
}

// Long bodies are moved by pipes, as long as there are some, in both directions; the others
// are copied. Each pipe is given back.
func TestLongBodiesAreSpliced(t *testing.T) {
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{mirrored(t)}})
	splicing := func(want int64) {
		t.Helper()
		for limit := time.Now().Add(time.Minute); h1.Splicing() != want; runtime.Gosched() {
			if time.Now().After(limit) {
				t.Fatalf("%d pipes are in use, want %d", h1.Splicing(), want)
			}
		}
	}
	body := pseudo(64 << 20)
	for _, pipes := range []bool{true, false} {
		var taken []*h1.Pipe
		for !pipes {
			p := h1.NewPipe()
			if p == nil {
				break
			}
			taken = append(taken, p)
		}
		for _, how := range []string{"up", "down"} {
			splicing(int64(len(taken)))
			// The body is sent, or read, by half.
			c, br := r.dial()
			if how == "up" {
				fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: %d\r\n\r\n", len(body))
				c.Write(body[:1<<20])
			} else {
				fmt.Fprintf(c, "GET /?%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n", len(body))
				br.Peek(1)
			}
			if pipes {
				splicing(1)
			}
			sent := make(chan bool, 1)
			go func() {
				if how == "up" {
					c.Write(body[1<<20:])
				}
				sent <- true
			}()
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			if within(t, "the request is sent", sent); res.StatusCode != 200 || err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s, with pipes %v: status %d, %d octets, %v", how, pipes, res.StatusCode, len(got), err)
			}
			r.log.next(t)
		}
		for _, p := range taken {
			p.Free()
		}
	}
	splicing(0)
}

// An upstream that breaks off a spliced answer is the upstream's failure, and the client
// does not take the part for the whole.
func TestSplicedAnswerBreaksOff(t *testing.T) {
	for _, at := range []int{140_000, 600_000, 1<<20 - 10} {
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
			http.ReadRequest(br)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<20)
			c.Write(pseudo(at))
		})}})
		res := r.do("GET", "/", "")
		got, err := io.ReadAll(res.Body)
		if res.StatusCode != 200 || err == nil || len(got) != at {
			t.Errorf("status %d, %d octets of %d, %v", res.StatusCode, len(got), at, err)
		}
		r.log.next(t)
		if !strings.Contains(r.out.String(), "an upstream broke off its answer") {
			t.Errorf("the log: %s", r.out.String())
		}
	}
}

// A client that breaks off a spliced body breaks off the upstream's request, and one that
// leaves in the middle of a spliced answer ends it. Neither is a failure of the upstream.
func TestClientLeavesSplice(t *testing.T) {
	for _, how := range []string{"body", "answer", "answer unread"} {
		ended := make(chan error, 1)
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if how == "body" {
				_, err := io.Copy(io.Discard, req.Body)
				ended <- err
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<40)
			p := pseudo(1 << 20)
			for err == nil {
				_, err = c.Write(p)
			}
			ended <- err
		})}})
		c, br := r.dial()
		if how == "body" {
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: %d\r\n\r\n", 1<<40)
			c.Write(pseudo(2 << 20))
		} else {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
			if how == "answer" {
				io.CopyN(io.Discard, br, 8<<20)
			} else {
				br.Peek(1)
			}
		}
		c.Close()
		if err := within(t, "the upstream learns of the end", ended); err == nil {
			t.Errorf("%s: the upstream took a part for the whole", how)
		}
		r.log.next(t)
		if got := r.out.String(); strings.Contains(got, "broke off its answer") || strings.Contains(got, "is down") {
			t.Errorf("%s: the log\n%s", how, got)
		}
	}
}

// A reader that is slow holds the upstream back, and its progress keeps the answer alive.
func TestSlowReaderOfSplice(t *testing.T) {
	const whole, idle = 64 << 20, 2 * time.Second
	wrote := make(chan int, 1)
	r := newRig(t, Settings{}, Route{Path: "/", Timeouts: Timeouts{Idle: idle}, Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", whole)
		n, _ := c.Write(pseudo(whole))
		wrote <- n
		br.ReadByte() // until the proxy closes
	})}})
	res := r.do("GET", "/", "")
	tick := time.NewTicker(idle / 40)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 3*idle/2; <-tick.C {
		if _, err := io.CopyN(io.Discard, res.Body, 256<<10); err != nil {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
	}
	select {
	case n := <-wrote:
		t.Errorf("the upstream has written %d octets that nobody has read", n)
	default:
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("the rest: %d octets, %v", n, err)
	}
}

// A transfer that stands still for the idle time is ended, whoever is the reason.
func TestSpliceStandsStill(t *testing.T) {
	const whole, idle = 64 << 20, 500 * time.Millisecond
	for _, how := range []string{"the client does not read", "the upstream does not write", "the client does not write", "the upstream does not read"} {
		t.Run(how, func(t *testing.T) {
			ended, cut := make(chan error, 1), make(chan bool)
			r := newRig(t, Settings{}, Route{Path: "/", Timeouts: Timeouts{Idle: idle}, Upstreams: []string{rawBackend(t, func(c net.Conn, br *bufio.Reader) {
				req, err := http.ReadRequest(br)
				switch {
				case err != nil:
					return
				case req.Method == "GET":
					n := map[bool]int{true: 1 << 20, false: whole}[how == "the upstream does not write"]
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", whole)
					c.Write(pseudo(n))
					_, err = br.ReadByte()
				case how == "the client does not write":
					_, err = io.Copy(io.Discard, req.Body)
				default:
					<-cut // reads nothing until then
					_, err = io.Copy(io.Discard, req.Body)
				}
				ended <- err
			})}})
			c, br := r.dial()
			if strings.HasSuffix(how, "does not write") == strings.HasPrefix(how, "the client") {
				fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: %d\r\n\r\n", whole)
				n := map[bool]int{true: 1 << 20, false: whole}[how == "the client does not write"]
				go c.Write(pseudo(n)) // may not end before the connection does
			} else {
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
			}
			if how == "the upstream does not write" {
				go io.Copy(io.Discard, br)
			}
			o := r.log.next(t)
			if o.Duration < idle || o.Duration > 20*idle {
				t.Errorf("it ended after %v", o.Duration)
			}
			close(cut)
			if err := within(t, "the upstream learns of the end", ended); err == nil {
				t.Error("the upstream took a part for the whole")
			}
		})
	}
}
