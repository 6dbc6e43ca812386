package serve

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1/loop"
)

// limitedListener accepts the connections that conns has room for, and reads the
// PROXY headers of the proxies that must send them.
type limitedListener struct {
	net.Listener
	conns   *conns
	proxies []netip.Prefix // see Config.ProxyProtocol
}

func (l *limitedListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.named(l.conns.take(raw)), nil
}

// named is c, or c with the client that its PROXY header names: the header is
// required of the listed peers, and everybody else's bytes are left alone.
func (l *limitedListener) named(c *conn) net.Conn {
	peer := addressOf(c.RemoteAddr())
	if !slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return c
	}
	move := func(h *proxyproto.Header) error {
		if ip := addressOf(h.SourceAddr); !h.Command.IsLocal() && ip.IsValid() {
			l.conns.move(c, ip)
		}
		return nil
	}
	return &proxied{c, proxyproto.NewConn(c, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.ValidateHeader(move), proxyproto.SetReadHeaderTimeout(HeadTimeout))}
}

// proxied is a connection of which a PROXY header names the client.
type proxied struct {
	*conn
	header *proxyproto.Conn // over conn: it reads the header before anything else
}

// LoopConn is nil for the same reason as TCPConn.
func (p *proxied) LoopConn() *loop.Conn { return nil }

// TCPConn is nil: header must see all that is read.
func (p *proxied) TCPConn() *net.TCPConn { return nil }

func (p *proxied) Read(b []byte) (int, error)         { return p.header.Read(b) }
func (p *proxied) LocalAddr() net.Addr                { return p.header.LocalAddr() }
func (p *proxied) RemoteAddr() net.Addr               { return p.header.RemoteAddr() }
func (p *proxied) SetDeadline(t time.Time) error      { return p.header.SetDeadline(t) }
func (p *proxied) SetReadDeadline(t time.Time) error  { return p.header.SetReadDeadline(t) }
func (p *proxied) SetWriteDeadline(t time.Time) error { return p.header.SetWriteDeadline(t) }

// connOf is the accepted connection below c, nil if it is none of ours.
func connOf(c net.Conn) *conn {
	for {
		switch v := c.(type) {
		case *conn:
			return v
		case *proxied:
			return v.conn
		case interface{ NetConn() net.Conn }: // TLS, or a layer of HTTP/2
			c = v.NetConn()
		default:
			return nil
		}
	}
}

// connContext lets the requests of a connection vouch for it.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	if c := connOf(nc); c != nil {
		return admit.WithVoucher(ctx, c)
	}
	return ctx
}

// connState follows whether a request is under way: from the end of its head to that
// of its response, and on HTTP/2 as long as there is a stream. A tunnel stays under
// way until it is closed.
func connState(nc net.Conn, state http.ConnState) {
	switch c := connOf(nc); {
	case c == nil:
	case state == http.StateActive:
		c.begin()
	case state == http.StateIdle:
		c.end()
	}
}

// serve answers the probes on a connection on probation, and everything else with
// 503, and ends the connection: the rest of a body is not waited for. Other requests go
// to next.
func (s *conns) serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := admit.VoucherOf(r.Context()).(*conn)
		if !ok || !c.probation {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close") // ends the connection on HTTP/2, too
		if r.URL.Path == "/readyz" || r.URL.Path == "/livez" {
			next.ServeHTTP(w, r)
			return
		}
		answer(w, r, &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: "All connections of this node are taken; try again in a moment."})
	})
}
