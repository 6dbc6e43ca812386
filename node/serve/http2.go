package serve

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/h2guard"
)

// The bounds of a connection of HTTP/2.
const (
	maxStreams = 250      // streams at a time
	maxFrame   = hardHead // so that a head within the bound fits; each connection keeps a buffer for its largest frame so far
)

// The bytes of request bodies that HTTP/2 clients may send before a handler reads them.
// They are in memory: streams of a connection share its window, so the bound of a
// listener is its connections times the window.
const (
	receiveMemory = 8 << 30  // of all connections of a listener
	minWindow     = 64 << 10 // RFC 9113 gives each connection as much from its beginning
	maxWindow     = 1 << 20  // net/http's default; more gains nothing at 100 Mbit/s and 80 ms
)

// window is the receive window of each of so many connections.
func window(conns int) int { return max(minWindow, min(receiveMemory/max(conns, 1), maxWindow)) }

// overHTTP2 is the part of the server for HTTP/2, which gets its connections from that for
// HTTP/1.1.
func (s *Server) overHTTP2(handler http.Handler, logger *slog.Logger) *http.Server {
	receive := window(s.cfg.MaxConns)
	return &http.Server{
		Handler:           handler,
		ConnContext:       connContext,
		ConnState:         connState,
		ReadHeaderTimeout: HeadTimeout, // of the preface; the guard has the one for heads
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    hardHead - headOfHTTP,
		Protocols:         new(http.Protocols), // h1 sets the one it needs
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              maxFrame,
			MaxReceiveBufferPerConnection: receive,
			MaxReceiveBufferPerStream:     receive,
			SendPingTimeout:               IdleTimeout / 2,
			PingTimeout:                   HeadTimeout,
			WriteByteTimeout:              IdleTimeout,
			CountError:                    s.http2.fault,
		},
		// Faults of clients on the wire (a reset, a broken frame) are logged for debugging only.
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		// "OPTIONS *" is answered by the handler, in the same way as over HTTP/1.1.
		DisableGeneralOptionsHandler: true,
	}
}

// guard ends connections whose frames make no progress; see docs/decisions/102-http2.md.
func (s *Server) guard(logger *slog.Logger) func(net.Conn) net.Conn {
	line := seldom{log: logger}
	cfg := &h2guard.Config{HeadTimeout: HeadTimeout, Ended: func(c net.Conn, reason string) {
		s.http2.ended.WithLabelValues(reason).Inc()
		line.say("a connection of HTTP/2 is ended: its client sends frames without progress", c.RemoteAddr(), reason, 1, time.Now())
	}}
	return func(nc net.Conn) net.Conn { return h2guard.New(nc, cfg) }
}

// seldom bounds the lines about connections that were ended: one for each reason in
// perReason.
type seldom struct {
	log  *slog.Logger
	mu   sync.Mutex
	said map[string]time.Time // at most one entry for each reason, of which there are few
	held map[string]int       // connections since, without a line
}

const perReason = time.Minute

// say logs text about n connections that were ended for a reason, or keeps their number
// for the next line. addr is that of a client.
func (l *seldom) say(text string, addr net.Addr, reason string, n int, now time.Time) {
	l.mu.Lock()
	last, again := l.said[reason]
	if again && now.Sub(last) < perReason {
		l.held[reason] += n
		l.mu.Unlock()
		return
	}
	if l.said == nil {
		l.said, l.held = map[string]time.Time{}, map[string]int{}
	}
	held := l.held[reason]
	l.said[reason], l.held[reason] = now, 0
	l.mu.Unlock()
	l.log.Warn(text, "addr", addr, "reason", reason, "connections", held+n)
}

// http2Metrics count what happens below the handlers.
type http2Metrics struct {
	faults *prometheus.CounterVec // streams and connections that net/http has ended, by reason
	ended  *prometheus.CounterVec // connections that the guard has ended, by reason
}

func newHTTP2Metrics(listener string) http2Metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "listener", Name: name, Help: help, ConstLabels: prometheus.Labels{"listener": listener},
		}
	}
	m := http2Metrics{
		faults: prometheus.NewCounterVec(opts("http2_errors_total", "Faults of clients in frames or fields of HTTP/2, for which a stream or a connection was ended, by the name that Go's HTTP server gives them."), []string{"reason"}),
		ended:  prometheus.NewCounterVec(opts("http2_connections_ended_total", "Connections of HTTP/2 that were ended because their client sent too many frames without progress, or a head too slowly, by reason."), []string{"reason"}),
	}
	for _, reason := range h2guard.Reasons() {
		m.ended.WithLabelValues(reason)
	}
	return m
}

// fault counts a fault. Its name is one of about 60 constants of net/http, with the error
// code before most of them.
func (m http2Metrics) fault(name string) { m.faults.WithLabelValues(name).Inc() }
