package h1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// arriving is a body with a length, the first octets of which have arrived.
type arriving struct {
	*strings.Reader
	there int
}

func (a *arriving) ReadReady(p []byte) (int, error) {
	if a.there == 0 && a.Len() > 0 {
		return 0, nil
	}
	n, err := a.Read(p[:min(len(p), a.there)])
	a.there -= n
	return n, err
}

func (*arriving) Close() error { return nil }

// A body that has arrived goes out with its head, without another goroutine, and the call
// can be used again. One that has arrived in part, or is too long, does not.
func TestArrivedBodies(t *testing.T) {
	u, tr := newUpstream(t, func(c net.Conn, br *bufio.Reader, _ int) {
		for {
			req := readRequest(br)
			if req == nil {
				return
			}
			n, _ := io.Copy(io.Discard, req.Body)
			if n != req.ContentLength {
				return
			}
			io.WriteString(c, okay)
		}
	}), newTransport(t)
	for _, tt := range []struct {
		size, there int
		alone       bool
	}{{1, 1, true}, {16_000, 16_000, true}, {32_000, 32_000, true}, {16_000, 0, false}, {16_000, 15_999, false}, {40_000, 40_000, false}} {
		for round := range 2 { // on a new connection, or on that of before
			before := u.conns.Load()
			req := newRequest(t, "POST", u.url, &arriving{strings.NewReader(strings.Repeat("x", tt.size)), tt.there})
			x, err := callOf(req)
			if err != nil {
				t.Fatal(err)
			}
			a, err := tr.Do(t.Context(), x)
			if err != nil || a.Status != 200 {
				t.Fatalf("%+v: %v, %v", tt, a, err)
			}
			if text, err := io.ReadAll(a.Body); string(text) != "ok" || err != nil {
				t.Errorf("%+v: %q, %v", tt, text, err)
			}
			if canPoll && canSendRaw && x.up.started == tt.alone {
				t.Errorf("%+v: with a goroutine: %t", tt, x.up.started)
			}
			if x.Reusable() == x.up.started {
				t.Errorf("%+v: reusable %t, with a goroutine %t", tt, x.Reusable(), x.up.started)
			}
			if made := u.conns.Load() - before; round == 1 && tt.alone && made > 0 {
				t.Errorf("%+v: a new connection", tt)
			}
		}
	}
}

// A body of a client is read as far as it has arrived, but not before the client has been
// told to send it.
func TestReadReady(t *testing.T) {
	if !canSendRaw {
		t.Skip("nothing is read without waiting")
	}
	more := make(chan bool)
	s := laning(func(x *Exchange) {
		b := x.Body().(ReadyReader)
		var got []byte
		p := make([]byte, 1<<10)
		if x.Request().Fields.Has("Expect") {
			if n, err := b.ReadReady(p); n != 0 || err != nil {
				t.Errorf("before the client was told: %d, %v", n, err)
			}
			n, err := x.Body().Read(p)
			x.answer(200, string(p[:n]))
			if err != io.EOF {
				t.Error(err)
			}
			return
		}
		for part := range 2 {
			if part == 1 {
				if n, err := b.ReadReady(p); n != 0 || err != nil {
					t.Errorf("nothing has arrived: %d, %v", n, err)
				}
				more <- true
			}
			for len(got) < 3000*(part+1) {
				n, err := b.ReadReady(p)
				got = append(got, p[:n]...)
				if (err == io.EOF) != (len(got) == 6000) || err != nil && err != io.EOF {
					t.Errorf("after %d octets: %v", len(got), err)
				}
			}
		}
		x.answer(200, string(got[2990:3010]))
	})
	addr := serve(t, s)
	c, br := dial(t, addr)
	io.WriteString(c, post+"Content-Length: 6000\r\n\r\n"+strings.Repeat("a", 3000))
	within(t, "the first half", more)
	io.WriteString(c, strings.Repeat("b", 3000)+post+"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	var text string
	for !strings.HasSuffix(text, "100 Continue\r\n\r\n") {
		line, err := br.ReadString('\n')
		if text += line; err != nil {
			t.Fatalf("%q, %v", text, err)
		}
	}
	io.WriteString(c, "ok")
	rest, _ := io.ReadAll(br)
	if text += string(rest); !strings.Contains(text, "\r\n\r\naaaaaaaaaabbbbbbbbbb") || !strings.HasSuffix(text, "\r\n\r\nok") {
		t.Errorf("%q", text)
	}
}

// A client that leaves in the midst of its body is an error of ReadReady as well.
func TestReadReadyOfHalfABody(t *testing.T) {
	if !canSendRaw {
		t.Skip("nothing is read without waiting")
	}
	failed := make(chan error, 1)
	addr := serve(t, laning(func(x *Exchange) {
		p := make([]byte, 100)
		for {
			if _, err := x.Body().(ReadyReader).ReadReady(p); err != nil {
				failed <- err
				return
			}
		}
	}))
	c, _ := dial(t, addr)
	io.WriteString(c, post+"Content-Length: 3\r\n\r\nab")
	c.(*net.TCPConn).CloseWrite()
	if err := within(t, "the end", failed); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

// Content of every size arrives as it was written, with the head in one write or not, and
// with a client that reads late.
func TestContentOfAllSizes(t *testing.T) {
	sizes := []int{0, 1, 3000, bufferSize - 1, bufferSize, bufferSize + 1, 16 << 10, writePiece - 1, writePiece, writePiece + 1, 8 << 20}
	content := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i * 7 / 3)
		}
		return p
	}
	addr := serve(t, laning(func(x *Exchange) {
		n, _ := contentLength([]string{x.Request().Path[1:]})
		x.Begin(200, new(Fields), nil, n)
		if m, err := x.Write(content(int(n))); m != int(n) || err != nil {
			t.Errorf("%d: %d, %v", n, m, err)
		}
	}))
	var all strings.Builder
	for _, n := range sizes {
		all.WriteString("GET /" + strconv.Itoa(n) + " HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	c, br := dial(t, addr)
	c.(*net.TCPConn).SetReadBuffer(64 << 10) // the server's writes are cut short
	io.WriteString(c, all.String())
	for _, n := range sizes {
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = br.ReadString('\n'); err != nil {
				t.Fatal(n, err)
			}
		}
		got := make([]byte, n)
		if _, err := io.ReadFull(br, got); err != nil || !bytes.Equal(got, content(n)) {
			t.Fatalf("%d octets: %v, or other octets", n, err)
		}
	}
}

// An answer that has arrived can be gathered, and its connection is used again.
func TestGather(t *testing.T) {
	if !canSendRaw {
		t.Skip("nothing is read without waiting")
	}
	text := strings.Repeat("0123456789", 1600)
	u, tr := newUpstream(t, replying("HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n"+text)), newTransport(t)
	for range 3 {
		x, err := callOf(newRequest(t, "GET", u.url, nil))
		if err != nil {
			t.Fatal(err)
		}
		a, err := tr.Do(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		b := a.Body.(*answerBody)
		p := make([]byte, len(text)+1)
		n := 0
		eventually(t, "the answer", func() bool { n += b.Gather(p[n:]); return n >= len(text) })
		if string(p[:n]) != text || b.Gather(p[n:]) != 0 {
			t.Fatalf("%d octets, or other octets", n)
		}
		if m, err := b.Read(nil); m != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", m, err)
		}
	}
	if n := u.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
