package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var wrong = []byte("ffffffffffffffffffffffffffffffff")

func joinConf() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protoJoin}, MinVersion: tls.VersionTLS13}
}

// hello makes the TLS connection of a join and no more.
func hello(t testing.TB, m *Mesh) *tls.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", m.Advertise())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(patience))
	c := tls.Client(raw, joinConf())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func counting(n *atomic.Int64) func(*Config) {
	return func(c *Config) {
		c.Join = func(context.Context, string, []byte, string) (any, error) {
			n.Add(1)
			return "in", nil
		}
	}
}

// A client that knows another secret, or none, learns nothing and cannot ask.
func TestServerWantsProof(t *testing.T) {
	var asked atomic.Int64
	m := start(t, nil, "a", counting(&asked))
	frame, err := encodeFrame(joinRequest{Kind: "join"})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := must(proof(secret, roleClient, hello(t, m).ConnectionState()))
	for name, send := range map[string]func(*tls.Conn) []byte{
		"a frame":              func(*tls.Conn) []byte { return append(frame, make([]byte, proofSize)...) },
		"zeros":                func(*tls.Conn) []byte { return make([]byte, proofSize) },
		"a huge frame":         func(*tls.Conn) []byte { return bytes.Repeat([]byte{0xff}, 1<<20) },
		"another secret":       func(c *tls.Conn) []byte { return must(proof(wrong, roleClient, c.ConnectionState())) },
		"the server's proof":   func(c *tls.Conn) []byte { return must(proof(secret, roleServer, c.ConnectionState())) },
		"another connection's": func(*tls.Conn) []byte { return elsewhere },
	} {
		c := hello(t, m)
		go c.Write(append(send(c), frame...))
		got, _ := io.ReadAll(c)
		if len(bytes.Trim(got, "\x00")) > 0 {
			t.Errorf("%s: the server says %q", name, got)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d questions got through", n)
	}
}

// fakeServer speaks join as far as TLS; the bytes sent to it after its answer come
// out of the channel.
func fakeServer(t testing.TB, reply func(s tls.ConnectionState, got []byte) []byte) (addr string, heard chan []byte) {
	t.Helper()
	pair, err := newJoinCert(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conf := joinConf()
	conf.Certificates = []tls.Certificate{pair}
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard = make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		got := make([]byte, proofSize)
		if _, err := io.ReadFull(c, got); err != nil {
			return
		}
		if r := reply(c.(*tls.Conn).ConnectionState(), got); r != nil {
			c.Write(r)
		}
		rest, _ := io.ReadAll(c)
		heard <- rest
	}()
	return l.Addr().String(), heard
}

// A server that does not know the secret is found out, and gets nothing but a
// proof that is good on no other connection.
func TestClientWantsProof(t *testing.T) {
	m := start(t, nil, "a")
	for name, reply := range map[string]func(s tls.ConnectionState, got []byte) []byte{
		"zeros":          func(tls.ConnectionState, []byte) []byte { return make([]byte, proofSize) },
		"the client's":   func(_ tls.ConnectionState, got []byte) []byte { return got },
		"another secret": func(s tls.ConnectionState, _ []byte) []byte { return must(proof(wrong, roleServer, s)) },
		"a frame":        func(tls.ConnectionState, []byte) []byte { return bytes.Repeat([]byte(`{"body":1}`), 10) },
	} {
		addr, heard := fakeServer(t, reply)
		_, err := m.Ask(within(t, patience), addr, "join", strings.Repeat("private", 100))
		if !errors.Is(err, ErrSecret) {
			t.Errorf("%s: %v", name, err)
		}
		if rest := <-heard; len(rest) > 0 {
			t.Errorf("%s: the server heard %q", name, rest)
		}
	}
}

// A man in the middle of two nodes that know the secret can pass bytes on, but not
// the proofs: the two connections have different keys.
func TestMiddleman(t *testing.T) {
	var asked atomic.Int64
	server := start(t, nil, "a", counting(&asked))
	client := start(t, nil, "b")
	addr, heard := fakeServer(t, func(_ tls.ConnectionState, got []byte) []byte {
		c := hello(t, server)
		c.Write(got)
		answer := make([]byte, proofSize)
		io.ReadFull(c, answer)
		return answer
	})
	if _, err := client.Ask(within(t, patience), addr, "join", nil); !errors.Is(err, ErrSecret) {
		t.Errorf("the client: %v", err)
	}
	if rest := <-heard; len(rest) > 0 || asked.Load() > 0 {
		t.Errorf("it heard %q, the server was asked %d times", rest, asked.Load())
	}
}

func TestAskOthers(t *testing.T) {
	m := start(t, nil, "a")
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	old.StartTLS()
	defer old.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, c := range []struct {
		name  string
		addr  string
		limit time.Duration
		want  error
	}{
		{"a web server", plain.Listener.Addr().String(), patience, ErrNotCluster},
		{"a web server with TLS", web.Listener.Addr().String(), patience, ErrNotCluster},
		{"an old one", old.Listener.Addr().String(), patience, ErrNotCluster},
		{"nobody", closed.Addr().String(), patience, ErrUnreachable},
		{"one that is silent", silent.Addr().String(), 500 * time.Millisecond, ErrUnreachable},
	} {
		_, err := m.Ask(within(t, c.limit), c.addr, "poll", nil)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, other := range []error{ErrNotCluster, ErrUnreachable, ErrSecret} {
			if other != c.want && errors.Is(err, other) {
				t.Errorf("%s: also %v", c.name, other)
			}
		}
	}
}

// After the proof a frame is still bounded and strict.
func TestJoinFrames(t *testing.T) {
	var asked atomic.Int64
	m := start(t, nil, "a", counting(&asked))
	frame := func(n uint32, s string) []byte { return append(binary.BigEndian.AppendUint32(nil, n), s...) }
	for name, send := range map[string][]byte{
		"too long":       frame(maxFrame+1, ""),
		"the longest":    frame(1<<32-1, strings.Repeat("x", 1000)),
		"no JSON":        frame(4, "PRI "),
		"an unknown key": frame(18, `{"kind":"x","z":1}`),
		"a doubled key":  frame(23, `{"kind":"x","kind":"y"}`),
	} {
		c := hello(t, m)
		c.Write(must(proof(secret, roleClient, c.ConnectionState())))
		var theirs [proofSize]byte
		if _, err := io.ReadFull(c, theirs[:]); err != nil {
			t.Fatal(err)
		}
		c.Write(send)
		var a joinAnswer
		if err := readFrame(c, &a); err != nil || a.Error == "" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d questions got through", n)
	}
	client := start(t, nil, "b")
	if _, err := client.Ask(within(t, patience), m.Advertise(), "join", strings.Repeat("x", maxFrame)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a question that is too long: %v", err)
	}
	if _, err := client.Ask(within(t, patience), m.Advertise(), "join", strings.Repeat("x", maxFrame-100)); err != nil {
		t.Errorf("a long question: %v", err)
	}
}

func TestSetSecret(t *testing.T) {
	var asked atomic.Int64
	a, b := start(t, nil, "a", counting(&asked)), start(t, nil, "b")
	ask := func() error {
		_, err := b.Ask(within(t, patience), a.Advertise(), "join", nil)
		return err
	}
	if err := a.SetSecret([]byte("short")); err == nil {
		t.Error("a short secret is taken")
	}
	if err := a.SetSecret(wrong); err != nil {
		t.Fatal(err)
	}
	if err := ask(); !errors.Is(err, ErrSecret) {
		t.Errorf("one has changed: %v", err)
	}
	if err := b.SetSecret(wrong); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("both have changed: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte("\x00\x00\x00\x0c{\"kind\":\"x\"}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var q joinRequest
		if readFrame(bytes.NewReader(raw), &q) != nil {
			return
		}
		again, err := encodeFrame(q)
		if err != nil {
			t.Fatal(err)
		}
		var q2 joinRequest
		if err := readFrame(bytes.NewReader(again), &q2); err != nil || q2.Kind != q.Kind {
			t.Fatalf("%+v became %+v: %v", q, q2, err)
		}
	})
}
