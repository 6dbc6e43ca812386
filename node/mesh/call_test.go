package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// faulty is a network that counts its dialled connections and can cut them silently:
// writes are lost and nothing is read, as when a cable is cut.
type faulty struct {
	osNet
	dials atomic.Int64
	cut   chan struct{} // closed while the cable is
}

func newFaulty() *faulty { return &faulty{cut: make(chan struct{})} }

func (f *faulty) into(c *Config) { c.Net = f }

func (f *faulty) isCut() bool {
	select {
	case <-f.cut:
		return true
	default:
		return false
	}
}

func (f *faulty) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	f.dials.Add(1)
	if f.isCut() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := f.osNet.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: c, net: f, closed: make(chan struct{})}, nil
}

type faultyConn struct {
	net.Conn
	net    *faulty
	closed chan struct{}
	once   sync.Once
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if c.net.isCut() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.net.isCut() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestCallsShareAConnection(t *testing.T) {
	ca := newAuthority(t, "c1")
	net := newFaulty()
	const n = 100
	var together sync.WaitGroup
	together.Add(n)
	a := start(t, ca, "a", net.into)
	b := start(t, ca, "b", func(c *Config) {
		c.Calls = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			together.Done()
			together.Wait()
			echo(w, r)
		})
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			body := fmt.Sprint(i)
			out, err := a.Call(within(t, patience), b.Advertise(), "b", "/", []byte(body))
			if err != nil || string(out) != "a "+body {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
	wg.Wait()
	if d := net.dials.Load(); d != 1 {
		t.Errorf("%d connections for %d calls", d, n)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	ca := newAuthority(t, "c1")
	began, ended := make(chan struct{}), make(chan struct{})
	a := start(t, ca, "a")
	b := start(t, ca, "b", func(c *Config) {
		c.Calls = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/wait" {
				return
			}
			close(began)
			<-r.Context().Done()
			close(ended)
		})
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	_, err := a.Call(ctx, b.Advertise(), "b", "/wait", nil)
	if !errors.Is(err, context.Canceled) || errors.As(err, new(*NotSent)) {
		t.Errorf("got %v", err)
	}
	<-ended
	_, err = a.Call(ctx, b.Advertise(), "b", "/", nil)
	if !errors.Is(err, context.Canceled) || !errors.As(err, new(*NotSent)) {
		t.Errorf("a context that had ended before: %v", err)
	}
	if _, err := a.Call(within(t, patience), b.Advertise(), "b", "/", nil); err != nil {
		t.Errorf("the connection is spoiled: %v", err)
	}
}

// startFailing starts node b with calls that hang, break off, or answer too much.
// began receives when a call hangs.
func startFailing(t *testing.T, ca *authority, listen string) (b *Mesh, began chan struct{}) {
	t.Helper()
	began = make(chan struct{}, 1)
	b = start(t, ca, "b", func(c *Config) {
		c.Listen = listen
		c.Calls = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/hang":
				began <- struct{}{}
				<-r.Context().Done()
			case "/panic":
				panic(http.ErrAbortHandler)
			case "/large":
				io.Copy(w, io.LimitReader(zeros{}, MaxBody+1))
			}
		})
	})
	return b, began
}

// An error tells whether the call certainly had no effect.
func TestCallOutcomes(t *testing.T) {
	ca := newAuthority(t, "c1")
	a := start(t, ca, "a")
	b, began := startFailing(t, ca, "127.0.0.1:0")
	addr := b.Advertise()
	call := func(path string) error {
		_, err := a.Call(within(t, patience), addr, "b", path, nil)
		return err
	}
	if err := call("/"); err != nil {
		t.Fatal(err)
	}
	if err := call("/panic"); err == nil || errors.As(err, new(*NotSent)) {
		t.Errorf("the handler broke off: %v", err)
	}
	if err := call("/large"); !errors.Is(err, ErrTooLarge) || errors.As(err, new(*NotSent)) {
		t.Errorf("a large answer: %v", err)
	}
	if err := call("no path"); !errors.As(err, new(*NotSent)) {
		t.Errorf("no path: %v", err)
	}

	dead := make(chan struct{})
	go func() {
		<-began
		b.Close()
		close(dead)
	}()
	if err := call("/hang"); err == nil || errors.As(err, new(*NotSent)) {
		t.Errorf("the server died midway: %v", err)
	}
	<-dead
	if err := call("/"); !errors.Is(err, ErrUnreachable) || !errors.As(err, new(*NotSent)) {
		t.Errorf("the server is gone: %v", err)
	}
	startFailing(t, ca, addr)
	if err := call("/"); err != nil {
		t.Errorf("the server is back: %v", err)
	}
}

// A cut cable is noticed in time, whether a call is in progress or not.
func TestCallOverACutCable(t *testing.T) {
	ca := newAuthority(t, "c1")
	net := newFaulty()
	a := start(t, ca, "a", net.into)
	b, began := startFailing(t, ca, "127.0.0.1:0")
	call := func(path string) error {
		_, err := a.Call(within(t, patience), b.Advertise(), "b", path, nil)
		return err
	}
	const slack = 10 * time.Second // for a loaded machine; TCP itself would take a quarter of an hour
	go func() {
		<-began
		close(net.cut)
	}()
	was := time.Now()
	if err := call("/hang"); err == nil || errors.As(err, new(*NotSent)) {
		t.Errorf("the cable was cut midway: %v", err)
	}
	if d := time.Since(was); d > 2*(pingEvery+pingTimeout)+slack {
		t.Errorf("it took %v to notice", d)
	}
	t.Logf("a cut cable was noticed after %v", time.Since(was))
	was = time.Now()
	if err := call("/"); !errors.Is(err, ErrUnreachable) || !errors.As(err, new(*NotSent)) {
		t.Errorf("the cable is cut: %v", err)
	}
	if d := time.Since(was); d > dialTimeout+handshakeTimeout+slack {
		t.Errorf("a dial took %v", d)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The address now belongs to another node; the connection to the old one lives.
func TestCallAfterAMove(t *testing.T) {
	ca := newAuthority(t, "c1")
	net := newFaulty()
	a := start(t, ca, "a", net.into)
	b, c := start(t, ca, "b", echoes), start(t, ca, "c", echoes)
	call := func(want string) error {
		_, err := a.Call(within(t, patience), "node:1", want, "/", nil)
		return err
	}
	var at atomic.Pointer[string]
	point := func(m *Mesh) { s := m.Advertise(); at.Store(&s) }
	a.conf.Net = redirect{net, &at}
	point(b)
	if err := call("b"); err != nil {
		t.Fatal(err)
	}
	point(c)
	if err := call("c"); err != nil {
		t.Errorf("the new node: %v", err)
	}
	if err := call("b"); !errors.Is(err, ErrOtherNode) || !errors.As(err, new(*NotSent)) {
		t.Errorf("the old node: %v", err)
	}
	soon(t, "the connection without calls is closed", func() bool {
		b.open.mu.Lock()
		defer b.open.mu.Unlock()
		return len(b.open.all) == 0
	})
}

// redirect sends every dial to one address.
type redirect struct {
	Net
	at *atomic.Pointer[string]
}

func (r redirect) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return r.Net.DialContext(ctx, network, *r.at.Load())
}

// A peer's refusals by means of HTTP/2, for a call that it did not process.
func TestCallRefusedByHTTP2(t *testing.T) {
	ca := newAuthority(t, "c1")
	a := start(t, ca, "a")
	for _, c := range []struct {
		name    string
		say     func(f *http2.Framer, stream uint32)
		notSent bool
	}{
		{"GOAWAY before it", func(f *http2.Framer, s uint32) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }, true},
		{"GOAWAY after it", func(f *http2.Framer, s uint32) { f.WriteGoAway(s, http2.ErrCodeNo, nil) }, false},
		{"GOAWAY in anger", func(f *http2.Framer, s uint32) { f.WriteGoAway(s, http2.ErrCodeProtocol, nil) }, false},
		{"REFUSED_STREAM", func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeRefusedStream) }, true},
		{"INTERNAL_ERROR", func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeInternal) }, false},
		{"CANCEL", func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeCancel) }, false},
		{"half an answer", func(f *http2.Framer, s uint32) {
			var b bytes.Buffer
			hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: b.Bytes(), EndHeaders: true})
			f.WriteData(s, false, []byte("half"))
		}, false},
	} {
		conf := &tls.Config{Certificates: []tls.Certificate{forge(t, ca, nil)}, NextProtos: []string{protoCall}, ClientAuth: tls.RequireAnyClientCert}
		l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				speak(conn, c.say)
			}
		}()
		_, err = a.Call(within(t, patience), l.Addr().String(), "b", "/", []byte("body"))
		if err == nil || errors.As(err, new(*NotSent)) != c.notSent {
			t.Errorf("%s: %v", c.name, err)
		}
		l.Close()
	}
}

// speak is an HTTP/2 server that answers the first request with say and hangs up.
func speak(conn net.Conn, say func(*http2.Framer, uint32)) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write([]byte{welcome})
	io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(conn, conn)
	f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if frame.Header().Type == http2.FrameData && frame.(*http2.DataFrame).StreamEnded() {
			say(f, frame.Header().StreamID)
			return
		}
	}
}

// A peer's own request must not outgrow the bound either.
func TestCallBody(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a"), start(t, ca, "b", echoes)
	_, err := a.Call(within(t, patience), b.Advertise(), "b", "/", make([]byte, MaxBody+1))
	if !errors.Is(err, ErrTooLarge) || !errors.As(err, new(*NotSent)) {
		t.Errorf("got %v", err)
	}
	body := bytes.Repeat([]byte("x"), 3<<20)
	out, err := a.Call(within(t, patience), b.Advertise(), "b", "/", body)
	if err != nil || len(out) != len(body)+2 {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
}
