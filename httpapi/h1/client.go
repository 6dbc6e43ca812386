package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// Transport sends requests over HTTP/1.1, with or without TLS. Its fields must not be
// changed once it is in use, and it must not be copied.
//
// A request is sent again, once and on a new connection, if the one that it took from the
// pool ends before the first octet of an answer, and either the upstream cannot have read
// any of it or its method is idempotent.
type Transport struct {
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: that of a [net.Dialer]
	TLS  *tls.Config                                                       // of https; ServerName may be left out

	// Bounds on time; 0 is none.
	TLSHandshakeTimeout   time.Duration
	ResponseHeaderTimeout time.Duration // from the last octet of the request to the end of the answer's head
	ExpectContinueTimeout time.Duration // that a request with "Expect: 100-continue" waits for its 100

	// MaxHead bounds the head of an answer, and of each interim one, in octets. 0 is 64 KiB.
	MaxHead int

	pool pool
}

// ProtocolError is returned where the server has chosen another protocol by ALPN. Nothing
// of the request was sent. The connection is the caller's.
type ProtocolError struct {
	Protocol string
	Conn     *tls.Conn
}

func (e *ProtocolError) Error() string { return "the server chose the protocol " + e.Protocol }

// Idle bounds the idle connections that are kept: their number for each address, and how
// long. It must be called before the first request.
func (t *Transport) Idle(most int, keep time.Duration) { t.pool.most, t.pool.keep = most, keep }

// CloseIdleConnections closes the connections that carry no request now.
func (t *Transport) CloseIdleConnections() { t.pool.clear() }

func (t *Transport) maxHead() int {
	if t.MaxHead == 0 {
		return 64 << 10
	}
	return t.MaxHead
}

// Do sends a request and reads the head of the answer. Its error is that of reading the
// request's body, the context's cause, a [*ConnectError], [*ProtocolError],
// [*RequestError], [*ResponseError], [ErrNoResponse], or one of the connection. The answer
// is c's: it lasts until c is reset.
func (t *Transport) Do(ctx context.Context, x *Call) (*Answer, error) {
	x.t, x.ctx = t, ctx
	if err := x.prepare(); err != nil {
		if x.Body != nil {
			x.Body.Close()
		}
		return nil, err
	}
	if err := causeOf(ctx); err != nil {
		return nil, x.giveUp(err)
	}
	c, err := t.connection(x, true)
	if err != nil {
		return nil, x.giveUp(err)
	}
	for err = x.attempt(c); errors.Is(err, errStale); err = x.attempt(c) {
		x.discard(c)
		if c, err = t.connection(x, true); err != nil {
			return nil, x.giveUp(err)
		}
	}
	if err == nil {
		return &x.answer, nil
	}
	if !x.mayRepeat(err) {
		return nil, x.giveUp(x.explain(err))
	}
	if c, err = t.connection(x, false); err != nil {
		return nil, x.giveUp(err)
	}
	if err = x.attempt(c); err != nil {
		return nil, x.giveUp(x.explain(err))
	}
	return &x.answer, nil
}

// causeOf is why ctx is done; nil while it is not. A context may say so itself.
func causeOf(ctx context.Context) error {
	if c, ok := ctx.(interface{ Cause() error }); ok {
		return c.Cause()
	}
	return context.Cause(ctx)
}

// connection returns an idle connection, if reuse allows one and there is one, or a new
// one.
func (t *Transport) connection(x *Call, reuse bool) (c *persistConn, err error) {
	if reuse {
		c = t.pool.takeFor(x)
	}
	if c == nil {
		x.leaveLoop()
		if c, err = t.connect(x.ctx, x.Target); err != nil {
			return nil, err
		}
	}
	if x.Connected != nil {
		x.Connected(c.Conn, c.reused)
	}
	return c, nil
}

// connect makes a connection.
func (t *Transport) connect(ctx context.Context, key Target) (*persistConn, error) {
	s, err := t.dial(ctx, key.Addr)
	if err != nil {
		return nil, err
	}
	c := &persistConn{Conn: s, socket: s, key: key}
	if key.Scheme != "https" {
		return c, nil
	}
	secure, err := t.handshake(ctx, s, key.Addr)
	if err != nil {
		return nil, err
	}
	if p := secure.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
		return nil, &ProtocolError{p, secure}
	}
	c.Conn = secure
	return c, nil
}

// DialTLS makes a connection as requests for https get one, for another client that
// speaks what the server chooses by ALPN.
func (t *Transport) DialTLS(ctx context.Context, addr string) (*tls.Conn, error) {
	s, err := t.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return t.handshake(ctx, s, addr)
}

func (t *Transport) dial(ctx context.Context, addr string) (*socket, error) {
	dial := t.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	c, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, unconnected(ctx, err)
	}
	return newSocket(c), nil
}

// handshake adds TLS to s, or closes it.
func (t *Transport) handshake(ctx context.Context, s *socket, addr string) (*tls.Conn, error) {
	cfg := t.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	limited := ctx
	if t.TLSHandshakeTimeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, t.TLSHandshakeTimeout, errNoHandshake)
		defer cancel()
	}
	c := tls.Client(s, cfg)
	err := c.HandshakeContext(limited)
	if err == nil {
		return c, nil
	}
	s.Close()
	if errors.Is(context.Cause(limited), errNoHandshake) {
		err = errNoHandshake
	}
	return nil, unconnected(ctx, err)
}

// unconnected is the error for a connection that could not be made.
func unconnected(ctx context.Context, err error) error {
	if cause := causeOf(ctx); cause != nil {
		return cause
	}
	return &ConnectError{err}
}
