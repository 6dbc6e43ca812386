package serve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// floods are frames without progress: the n-th of a connection on which stream 1 is open,
// with a body under way. Each is one frame, but for the resets.
var floods = map[string]func(c *framed, n uint32){
	"settings":         func(c *framed, _ uint32) { c.WriteSettings() },
	"pings":            func(c *framed, _ uint32) { c.WritePing(false, [8]byte{}) },
	"priorities":       func(c *framed, n uint32) { c.WritePriority(3+2*n, http2.PriorityParam{StreamDep: 1}) },
	"window_updates":   func(c *framed, _ uint32) { c.WriteWindowUpdate(1, 1) },
	"empty_data":       func(c *framed, _ uint32) { c.WriteData(1, false, nil) },
	"extension_frames": func(c *framed, _ uint32) { c.WriteRawFrame(0x42, 0, 0, nil) },
	"continuations": func(c *framed, n uint32) {
		if n == 0 {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3})
		}
		c.WriteContinuation(3, false, nil)
	},
	"late_data": func(c *framed, n uint32) {
		if n == 0 {
			c.WriteData(1, true, nil)
			c.begin(3, root, true)
			c.end(3)
			c.WriteRSTStream(1, http2.ErrCodeCancel)
		}
		c.WriteData(1, false, []byte("x"))
	},
	"stream_resets": func(c *framed, n uint32) {
		c.begin(3+2*n, root, true)
		c.WriteRSTStream(3+2*n, http2.ErrCodeCancel)
	},
}

// flooded begins a connection and sends a number of frames, as long as the server takes
// them. It returns what the server says after all.
func flooded(t *testing.T, s *Server, secure bool, write func(*framed, uint32), n int) string {
	t.Helper()
	c := dialHTTP2(t, s.Addr().String(), secure)
	defer c.Close()
	c.begin(1, root, false)
	said := make(chan string, 1)
	for i := range n {
		if i == 1 { // what the first one waits for has been read
			go func() { said <- c.last() }()
		}
		if len(said) > 0 {
			break
		}
		write(c, uint32(i))
	}
	c.WritePing(false, [8]byte{'e', 'n', 'd'})
	return <-said
}

// last reads until the connection ends or the ping after a flood is answered.
func (c *framed) last() string {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			return "goaway " + frame.ErrCode.String()
		case *http2.PingFrame:
			if frame.Data == [8]byte{'e', 'n', 'd'} {
				return "alive"
			}
		}
	}
}

// A connection whose client sends frames without progress is ended and counted, by each
// kind of frame. Some dozens of each are no reason.
func TestFloodsOverHTTP2(t *testing.T) {
	certs := certificates(t, pair(t, t.TempDir(), time.Now(), "localhost"))
	for _, secure := range []bool{false, true} {
		c := config(nil)
		if secure {
			c = config(certs)
		}
		var log bytes.Buffer
		var mu sync.Mutex
		c.Logger = slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		s := run(t, c)
		for reason, write := range floods {
			if reason != "continuations" { // after them, a ping is no frame that may come
				if got := flooded(t, s, secure, write, 50); got != "alive" {
					t.Errorf("%s, TLS %v: 50 frames: %s", reason, secure, got)
				}
			}
			if n := counted(t, s, "perfgate_listener_http2_connections_ended_total")[reason]; n != 0 {
				t.Errorf("%s, TLS %v: %v connections were ended before the flood", reason, secure, n)
			}
			for i := range 2 {
				if got := flooded(t, s, secure, write, 50_000); got != "goaway ENHANCE_YOUR_CALM" {
					t.Errorf("%s, TLS %v: a flood: %s", reason, secure, got)
				}
				if n := counted(t, s, "perfgate_listener_http2_connections_ended_total")[reason]; n != float64(i+1) {
					t.Errorf("%s, TLS %v: %v connections are counted, want %d", reason, secure, n, i+1)
				}
			}
			mu.Lock()
			if n := strings.Count(log.String(), "reason="+reason+" "); n != 1 {
				t.Errorf("%s, TLS %v: %d lines in the log, want 1:\n%s", reason, secure, n, &log)
			}
			mu.Unlock()
		}
	}
}

// locked is a writer for several goroutines.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// 100,000 streams that are reset at once keep at most maxStreams handlers at work, and the
// connection ends after some hundreds, though the client makes the server do the resets.
func TestRapidResets(t *testing.T) {
	for name, cancel := range map[string]func(*framed, uint32){
		"by the client": func(c *framed, id uint32) { c.WriteRSTStream(id, http2.ErrCodeCancel) },
		"by the server": func(c *framed, id uint32) { c.WriteWindowUpdate(id, 1<<31-1) }, // overflows
	} {
		var now, most, all atomic.Int64
		release := make(chan struct{})
		c := config(nil)
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			all.Add(1)
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			<-release // an upstream that does not notice
			now.Add(-1)
		})
		s := run(t, c)
		sent := 0
		got := flooded(t, s, false, func(c *framed, n uint32) {
			if c.begin(3+2*n, root, true) == nil {
				cancel(c, 3+2*n)
				sent++
			}
		}, 100_000)
		close(release)
		if most.Load() > maxStreams || all.Load() > 2*maxStreams || sent == 100_000 {
			t.Errorf("%s: %d handlers at a time, %d in all, %d streams were taken; at most %d may be at work", name, most.Load(), all.Load(), sent, maxStreams)
		}
		if got != "goaway ENHANCE_YOUR_CALM" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Clients that are fast and do what they are for are not ended: requests and pings at full
// speed, bodies both ways, and as many cancelled requests as answered ones.
func TestBusyClients(t *testing.T) {
	c := config(nil)
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
			return
		}
		io.Copy(w, r.Body)
		io.WriteString(w, "hello")
	})
	s := run(t, c)
	tr := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 16, MaxReceiveBufferPerConnection: 1 << 16}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for i := range 100 {
				res, err := tr.RoundTrip(request(t.Context(), s, "/", strings.Repeat("x", 40<<10*(i%2))))
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Millisecond, cancel)
				if res, err := tr.RoundTrip(request(ctx, s, "/hangs", "")); err == nil {
					res.Body.Close()
				}
			}
		})
	}
	wg.Wait()
	for reason, n := range counted(t, s, "perfgate_listener_http2_connections_ended_total") {
		if n != 0 {
			t.Errorf("%v connections are ended: %s", n, reason)
		}
	}
}

func request(ctx context.Context, s *Server, path, body string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprintf("http://%s%s", s.Addr(), path), strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	return r
}

// Faults that net/http finds are counted by its names for them.
func TestFaultsOfHTTP2AreCounted(t *testing.T) {
	s := run(t, config(nil))
	outcome(t, s.Addr().String(), false, at(":path", "x"))
	if got := counted(t, s, "perfgate_listener_http2_errors_total"); len(got) != 1 || got["stream_PROTOCOL_ERROR_bad_path"] != 1 {
		t.Errorf("%v", got)
	}
}

// The lines about one reason are a minute apart, and tell how many connections there were.
func TestSeldom(t *testing.T) {
	var out bytes.Buffer
	l := seldom{log: slog.New(slog.NewTextHandler(&out, nil))}
	start := time.Now()
	for i := range 121 {
		l.say("text", nil, "pings", 1, start.Add(time.Duration(i)*time.Second))
	}
	if got := out.String(); strings.Count(got, "\n") != 3 || strings.Count(got, "connections=1\n") != 1 || strings.Count(got, "connections=60\n") != 2 {
		t.Error(got)
	}
}
