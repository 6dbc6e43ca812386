package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// Bounds of the connections of one upstream.
const (
	maxIdle         = 256
	idleTime        = time.Minute
	maxResponseHead = 1 << 20
	continueTime    = time.Second
)

// transport is the connections of one upstream.
type transport interface {
	Do(ctx context.Context, call *h1.Call) (*h1.Answer, error)
	CloseIdleConnections()
}

// newTransport makes the connections of one upstream. It takes secured, the TLS of an https
// upstream, which no other may have: connections of different identities are never mixed. serving is asked once more when a
// connection has been made, which may have taken seconds.
func newTransport(scheme string, t Timeouts, secured *tls.Config, serving func() *fault.Error) transport {
	dialer := net.Dialer{Timeout: t.Connect, KeepAlive: 30 * time.Second}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if f := serving(); f != nil {
			c.Close()
			return nil, f
		}
		return c, nil
	}
	one := &h1.Transport{
		Dial:                  dial,
		TLS:                   secured,
		TLSHandshakeTimeout:   t.Connect,
		ResponseHeaderTimeout: t.ResponseHeader,
		ExpectContinueTimeout: continueTime,
		MaxHead:               maxResponseHead,
	}
	one.Idle(maxIdle, idleTime)
	if scheme == "http" {
		return one
	}
	two := &http.Transport{
		Protocols:              new(http.Protocols),
		DialContext:            dial,
		ResponseHeaderTimeout:  t.ResponseHeader,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxResponseHead,
		DisableCompression:     true, // bodies pass as they are
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	if scheme == "h2c" {
		two.Protocols.SetUnencryptedHTTP2(true)
		return http2Transport{two}
	}
	secured.NextProtos = []string{protocolHTTP2, "http/1.1"}
	secured.VerifyConnection = func(tls.ConnectionState) error {
		if f := serving(); f != nil {
			return f
		}
		return nil
	}
	two.Protocols.SetHTTP2(true)
	s := &secure{one: one, two: http2Transport{two}, spare: make(chan *tls.Conn, 1)}
	two.DialTLSContext = s.dial
	return s
}

// protocolHTTP2 is the name of HTTP/2 in ALPN.
const protocolHTTP2 = "h2"

// secure is the connections of an https upstream, which chooses HTTP/1.1 or HTTP/2
// whenever a connection is made. Requests go the way of the last choice. A request that
// meets the other choice has not been sent, and changes the way.
type secure struct {
	one    *h1.Transport
	two    http2Transport
	chosen atomic.Int32 // the version; 0 is not known, which begins as 1
	spare  chan *tls.Conn
}

// errNotHTTP2 is returned for a connection on which the upstream has chosen HTTP/1.1.
var errNotHTTP2 = errors.New("the upstream no longer chooses HTTP/2")

// Do makes a call.
func (s *secure) Do(ctx context.Context, call *h1.Call) (res *h1.Answer, err error) {
	for range 3 { // an upstream that changes its mind every time is at fault
		if s.chosen.Load() == 2 {
			if res, err = s.two.Do(ctx, call); !errors.Is(err, errNotHTTP2) {
				return res, err
			}
			s.chosen.Store(1)
			continue
		}
		var other *h1.ProtocolError
		if res, err = s.one.Do(ctx, call); !errors.As(err, &other) {
			return res, err
		}
		if other.Protocol != protocolHTTP2 {
			other.Conn.Close()
			return nil, err
		}
		s.chosen.Store(2)
		select {
		case s.spare <- other.Conn:
			defer s.dropSpare() // if no connection was needed
		default:
			other.Conn.Close() // another request has just met HTTP/2, too
		}
	}
	return nil, err
}

func (s *secure) dropSpare() {
	select {
	case c := <-s.spare:
		c.Close()
	default:
	}
}

// dial makes a connection for HTTP/2.
func (s *secure) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	select {
	case c := <-s.spare:
		return c, nil
	default:
	}
	c, err := s.one.DialTLS(ctx, addr)
	if err != nil {
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol != protocolHTTP2 {
		c.Close()
		return nil, errNotHTTP2
	}
	return c, nil
}

// CloseIdleConnections closes the connections without a request.
func (s *secure) CloseIdleConnections() {
	s.one.CloseIdleConnections()
	s.two.CloseIdleConnections()
}
