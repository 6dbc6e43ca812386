package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The end of the context is the end of the connection, at every stage.
func TestClientCancel(t *testing.T) {
	why := errors.New("why")
	for _, stage := range []string{"before", "waiting", "uploading", "reading", "dialing"} {
		t.Run(stage, func(t *testing.T) {
			begun, ended := make(chan bool, 1), make(chan bool, 1)
			u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
				http.ReadRequest(br)
				if stage == "reading" {
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
				}
				begun <- true
				io.Copy(io.Discard, br)
				ended <- true
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var body io.Reader
			if stage == "uploading" {
				body, _ = io.Pipe() // closing it ends the read from it
			}
			tr, req := newTransport(t), newRequest(t, "POST", u.url, body).WithContext(ctx)
			switch stage {
			case "before":
				cancel(why)
			case "dialing":
				tr.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					cancel(why)
					<-ctx.Done()
					return nil, ctx.Err()
				}
			default:
				go func() {
					<-begun
					if stage != "reading" {
						cancel(why)
					}
				}()
			}
			res, err := tr.RoundTrip(req)
			if stage == "reading" {
				if err != nil {
					t.Fatal(err)
				}
				cancel(why)
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if !errors.Is(err, why) {
				t.Errorf("%v", err)
			}
			if stage != "before" && stage != "dialing" {
				within(t, "the end at the upstream", ended)
			}
			if n := len(tr.pool.idle[place{Target: targetFor(t, u.url)}]); n != 0 {
				t.Errorf("%d idle connections", n)
			}
		})
	}
}

// The time for the head begins with the end of the request.
func TestClientResponseHeaderTimeout(t *testing.T) {
	for _, piece := range []string{"", "HTTP/1.1 200", "HTTP/1.1 103 Early Hints\r\n\r\n"} {
		u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
			if readRequest(br) != nil {
				io.WriteString(c, piece)
				io.Copy(io.Discard, br)
			}
		})
		for _, body := range []io.Reader{nil, strings.NewReader("body")} {
			tr := newTransport(t)
			tr.ResponseHeaderTimeout = 20 * time.Millisecond
			_, _, err := roundTrip(tr, newRequest(t, "POST", u.url, body))
			var timeout net.Error
			if !errors.Is(err, ErrNoResponse) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%q: %v", piece, err)
			}
		}
	}
	// Neither the body's time nor the answer's counts.
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
		io.Copy(c, req.Body)
	})
	tr := newTransport(t)
	tr.ResponseHeaderTimeout = patience
	in, out := io.Pipe()
	req := newRequest(t, "POST", u.url, in)
	req.ContentLength = 4
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	tr.ResponseHeaderTimeout = time.Nanosecond // of what is left of the request, if that counted
	io.WriteString(out, "body")
	out.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "body" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Trailers come with the end of the body, announced or not, in both directions.
func TestClientTrailers(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: %s\r\nX-Late: 1\r\nTransfer-Encoding: gzip\r\n\r\n", req.Trailer.Get("X-In"))
	})
	req := newRequest(t, "POST", u.url, streamed{strings.NewReader("body")})
	req.Trailer = http.Header{"X-In": {"in"}}
	res, err := newTransport(t).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := res.Trailer["X-Sum"]; !ok || v != nil || len(res.Trailer) != 1 {
		t.Errorf("announced: %q", res.Trailer)
	}
	io.Copy(io.Discard, res.Body)
	if got := join(res.Trailer); got != "X-Late[1]X-Sum[in]" {
		t.Errorf("trailer %s", got)
	}
}

// Whatever way requests go, nothing is left of them.
func TestClientLeaksNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	files := openFiles()
	for _, test := range []func(*testing.T){TestClientEarlyAnswer, TestRefusedUpload, TestBothDirectionsAtOnce, TestBrokenUploads, TestClientInterimResponses,
		TestClientExpectContinue, TestClientUpgrade, TestClientCancel, TestClientResponseHeaderTimeout, TestClientTrailers, TestStaleConnections, TestRequestsThatWereRead, TestClientManyRequests, TestSecureUpstream} {
		t.Run("", test)
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "the descriptors are closed", func() bool { return openFiles() <= files })
}

// openFiles counts the descriptors of this process; 0 where it cannot.
func openFiles() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}
