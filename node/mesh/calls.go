package mesh

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// calls is the server and the client of calls between nodes. It uses net/http's
// HTTP/2 with prior knowledge over connections that are already authenticated; to
// net/http they are plaintext. One connection to a peer carries all calls to it.
type calls struct {
	mesh    *Mesh
	streams *streams
	handler atomic.Pointer[http.Handler]
	server  *http.Server
	client  *http.Transport

	mu    sync.Mutex         // guards peers; never held across anything that waits
	peers map[string]*dialed // by address
}

type peerKey struct{}

// PeerID returns the id of the node that made the call with this context; "" outside
// a call.
func PeerID(ctx context.Context) string {
	id, _ := ctx.Value(peerKey{}).(string)
	return id
}

func (s *calls) open(m *Mesh) {
	s.mesh, s.streams, s.peers = m, newStreams(m), map[string]*dialed{}
	if m.conf.Calls != nil {
		s.handler.Store(&m.conf.Calls)
	}
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	conf := &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams,
		SendPingTimeout:      pingEvery,
		PingTimeout:          pingTimeout,
		WriteByteTimeout:     pingEvery + pingTimeout,
	}
	quiet := slog.NewLogLogger(m.log.Handler(), slog.LevelDebug)
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		Protocols:         &h2,
		HTTP2:             conf,
		ReadHeaderTimeout: acceptTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          quiet,
		BaseContext:       func(net.Listener) context.Context { return m.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c.(*conn).peer)
		},
	}
	s.client = &http.Transport{
		Protocols:          &h2,
		HTTP2:              conf,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return ctx.Value(dialKey{}).(*conn), nil
		},
	}
}

func (s *calls) serve() { _ = s.server.Serve(s.streams) } // until close

// close ends serve. The mesh closes the connections.
func (s *calls) close() {
	s.streams.Close()
	s.server.Close()
}

func (s *calls) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.mesh.begin() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer s.mesh.wg.Done()
	h := s.handler.Load()
	if h == nil {
		http.Error(w, "this node does not accept calls yet", http.StatusServiceUnavailable)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	(*h).ServeHTTP(w, r)
	if s.mesh.ctx.Err() != nil {
		// The handler may have given up because this node closes. Its output, complete
		// or not, must not look like an answer.
		panic(http.ErrAbortHandler)
	}
}
