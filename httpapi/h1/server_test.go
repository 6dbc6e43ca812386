package h1

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Requests that come at once are answered in order, and the octets of each body are that
// body's.
func TestPipelining(t *testing.T) {
	addr := serve(t, answering(echoing))
	got := undated(t, talk(t, addr, "\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n"+
		"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+
		"\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x=y\r\nf\r\n0\r\nT: u\r\n\r\n"+
		"GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n"))
	want := "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /1 " +
		"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nPOST /2 abc" +
		"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nPOST /3 def" +
		"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nGET /4 "
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A malformed request gets one answer, from Refuse or in plain text, and ends the
// connection; the handler sees none of it.
func TestRefusals(t *testing.T) {
	var mu sync.Mutex
	var faults []*Error
	s := answering(func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })
	s.Fault = func(e *Error) { mu.Lock(); faults = append(faults, e); mu.Unlock() }
	addr := serve(t, s)
	own := answering(s.Handler.ServeHTTP)
	own.Refuse = func(w http.ResponseWriter, r *http.Request, e *Error) {
		w.WriteHeader(e.Status)
		io.WriteString(w, e.Reason+" "+r.Method+" "+r.Header.Get("X-Request-Id")+" "+r.RemoteAddr[:len("127.0.0.1")])
	}
	ownAddr := serve(t, own)
	for text, want := range map[string]*Error{
		"GET / HTTP/1.1\r\nX-Request-Id: mine\r\nA: b\n":                                  errBareLF,
		"GET / HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n":                                    errNoHost,
		"GET / HTTP/1.1\r\nX-Request-Id: mine\r\nA: " + strings.Repeat("x", 100_000):      errTooLarge,
		"GET / HTTP/1.1\r\nX-Request-Id: mine\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n": errCoding,
	} {
		const next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		got := undated(t, talk(t, addr, text+next))
		mu.Lock()
		if len(faults) != 1 || faults[0] != want || !strings.HasPrefix(got, "HTTP/1.1 "+strconv.Itoa(want.Status)) || !strings.HasSuffix(got, "\r\nConnection: close\r\n\r\n"+want.Message+"\n") {
			t.Errorf("%.80q is answered %q, faults %v", text, got, faults)
		}
		faults = nil
		mu.Unlock()
		if got := talk(t, ownAddr, text+next); !strings.HasPrefix(got, "HTTP/1.1 "+strconv.Itoa(want.Status)) || !strings.HasSuffix(got, "\r\n\r\n"+want.Reason+" GET mine 127.0.0.1") {
			t.Errorf("%.80q is refused with %q", text, got)
		}
	}
}

// preloaded is a listener of connections that begin with octets, which no machine is too
// slow to bring in time.
type preloaded struct {
	net.Listener
	early chan string // of one connection each
}

func (p *preloaded) Accept() (net.Conn, error) {
	nc, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &earlyConn{nc, []byte(<-p.early)}, nil
}

// servePreloaded serves connections of which each begins with a text of early.
func servePreloaded(t *testing.T, s *Server) (addr net.Addr, early chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	early = make(chan string, 1)
	return serveOn(t, s, &preloaded{ln, early}), early
}

// The bounds on time: a head that is incomplete is answered, a silent client is not.
func TestTimeouts(t *testing.T) {
	s := answering(echoing)
	s.HeadTimeout, s.IdleTimeout = 100*time.Millisecond, time.Hour
	addr, early := servePreloaded(t, s)
	for text, want := range map[string]string{
		"":                           "",
		"\r\n\r\n":                   "",
		"GET / HT":                   errSlowHead.Message,
		get:                          errSlowHead.Message,
		get + "\r\n" + get:           "GET / " + "|" + errSlowHead.Message,
		get + "\r\nGET / HTTP/1.1\n": "GET / " + "|" + errBareLF.Message,
	} {
		early <- text
		got := talk(t, addr, "")
		for part := range strings.SplitSeq(want, "|") {
			_, after, ok := strings.Cut(got, part)
			if got = after; !ok {
				t.Errorf("%q: %q is missing", text, part)
			}
		}
		if strings.TrimSpace(got) != "" {
			t.Errorf("%q: the answer has more: %q", text, got)
		}
	}
	silent := answering(echoing)
	silent.IdleTimeout = 100 * time.Millisecond
	addr, early = servePreloaded(t, silent)
	early <- get + "\r\n"
	if got := talk(t, addr, ""); !strings.HasSuffix(got, "\r\n\r\nGET / ") {
		t.Errorf("before the silence: %q", got)
	}
	// Half a head from a client that sends no more is answered as that, not as a slow one.
	c, br := dial(t, serve(t, answering(echoing)))
	io.WriteString(c, "GET / HT")
	c.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(br); !strings.Contains(string(got), errHalfHead.Message) {
		t.Errorf("half a head is answered %q", got)
	}
}

// A client that takes nothing of an answer is cut off, and the handler learns of it. A
// deadline of the handler's own comes first.
func TestStalledClient(t *testing.T) {
	for name, own := range map[string]bool{"the server's deadline": false, "the handler's": true} {
		ended := make(chan error, 1)
		s := answering(func(w http.ResponseWriter, r *http.Request) {
			if own {
				http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			}
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					<-r.Context().Done()
					ended <- err
					return
				}
			}
		})
		s.WriteTimeout = 100 * time.Millisecond
		if own {
			s.WriteTimeout = time.Hour
		}
		c, _ := dial(t, serve(t, s))
		io.WriteString(c, get+"\r\n")
		if err := within(t, "the end of the answer by "+name, ended); !isTimeout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Shutdown closes idle connections, and waits for a request in flight, whose answer says
// that the connection ends.
func TestShutdown(t *testing.T) {
	begun, end := make(chan bool), make(chan bool)
	s := answering(func(http.ResponseWriter, *http.Request) { begun <- true; <-end })
	addr := serve(t, s)
	c, br := dial(t, addr)
	silent, _ := dial(t, addr)
	quiet, quietReader := dial(t, addr)
	io.WriteString(quiet, get+"\r\n")
	<-begun
	end <- true
	if _, err := http.ReadResponse(quietReader, nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, get+"\r\n")
	<-begun
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, idle := range []net.Conn{quiet, silent} {
		if n, err := idle.Read(make([]byte, 1)); n != 0 || isTimeout(err) {
			t.Errorf("an idle connection: %d, %v", n, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("a second Shutdown: %v", err)
	}
	end <- true
	if res, err := http.ReadResponse(br, nil); err != nil || !res.Close {
		t.Errorf("the answer in flight: %v, %v", res, err)
	}
	if err := within(t, "Shutdown", done); err != nil {
		t.Error(err)
	}
	if err := s.Serve(new(net.TCPListener)); err != http.ErrServerClosed {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// A connection whose answer did not say that it ends is closed by Shutdown all the same.
func TestShutdownAfterTheHead(t *testing.T) {
	begun, end := make(chan bool), make(chan bool)
	s := answering(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.(http.Flusher).Flush()
		begun <- true
		<-end
	})
	c, br := dial(t, serve(t, s))
	io.WriteString(c, get+"\r\n")
	within(t, "the request", begun)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	eventually(t, "the beginning of Shutdown", s.closing.Load)
	close(end)
	if err := within(t, "Shutdown", done); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(br); err != nil || strings.Contains(string(got), closing) {
		t.Errorf("%q, %v", got, err)
	}
}

// The owner of the server follows the states of a connection, also after a request so
// slow that its client was watched, and gives its requests a context.
func TestConnHooks(t *testing.T) {
	type key struct{}
	states := make(chan http.ConnState, 20)
	s := answering(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(3 * watchAfter)
		io.WriteString(w, r.Context().Value(key{}).(string))
	})
	s.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, key{}, nc.RemoteAddr().String())
	}
	s.ConnState = func(_ net.Conn, state http.ConnState) { states <- state }
	addr := serve(t, s)
	c, br := dial(t, addr)
	expect := func(want http.ConnState) {
		t.Helper()
		if got := within(t, want.String(), states); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	expect(http.StateNew)
	for range 2 {
		io.WriteString(c, get+"\r\n")
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); string(b) != c.LocalAddr().String() {
			t.Errorf("%q", b)
		}
		expect(http.StateActive)
		expect(http.StateIdle) // the client is silent
	}
	c.Close()
	expect(http.StateClosed)
}
