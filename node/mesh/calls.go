package mesh

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// calls is the server's and the client's side of calls from node to node.
//
// They are net/http's HTTP/2 with prior knowledge, over connections that are
// already authenticated: to net/http they are plaintext. One connection to a
// peer carries all calls to it.
type calls struct {
	mesh    *Mesh
	streams *streams
	handler atomic.Pointer[http.Handler]
	server  *http.Server
	client  *http.Transport

	mu    sync.Mutex
	peers map[string]*dialed // by address
}

type peerKey struct{}

// PeerID is the id of the node that makes the call with this context; "" outside
// of a call.
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
		Handler:           http.HandlerFunc(s.answer),
		Protocols:         &h2,
		HTTP2:             conf,
		ReadHeaderTimeout: greetTimeout,
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

func (s *calls) serve() { s.server.Serve(s.streams) }

// close ends what serve began; the connections are the mesh's to close.
func (s *calls) close() {
	s.streams.Close()
	s.server.Close()
}

func (s *calls) answer(w http.ResponseWriter, r *http.Request) {
	if !s.mesh.begin() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer s.mesh.wg.Done()
	h := s.handler.Load()
	if h == nil {
		http.Error(w, "this node takes no calls yet", http.StatusServiceUnavailable)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	(*h).ServeHTTP(w, r)
	if s.mesh.ctx.Err() != nil {
		// The handler may have given up because this node closes: what it wrote, or
		// did not write, must not look like an answer.
		panic(http.ErrAbortHandler)
	}
}
