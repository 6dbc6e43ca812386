package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// boundRig is a proxy with admission over a real store, and a key that may have two
// requests in flight and has no other limit.
type boundRig struct {
	*apitest.Endpoint
	t    *testing.T
	gate *admit.Gate
	key  string
}

// noGrants is a granter for keys without months.
type noGrants struct{}

func (noGrants) Await(context.Context, store.AccountID, *store.Record, []limiter.Want) {}
func (noGrants) Ask(store.AccountID, *store.Record, []limiter.Want)                    {}

// panickingGate panics before requests to /panic are sent.
type panickingGate struct{ *admit.Gate }

func (g panickingGate) Still(r *h1.Request, p *admit.Pass, rule admit.Rule, now time.Time) *fault.Error {
	if r.Path == "/panic" {
		panic("as the test wants")
	}
	return g.Gate.Still(r, p, rule, now)
}

func newBoundRig(t *testing.T, routes ...Route) *boundRig {
	t.Helper()
	s, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state", Fatal: func(err error) { t.Errorf("fatal: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	secret, two := apikey.New(apikey.LivePrefix), int64(2)
	pepper := store.Hash{7}
	for i, c := range []*store.Command{
		{Change: &store.Init{ClusterID: "c", Pepper: pepper, OperatorToken: store.Hash{2}, DefaultTier: "enterprise"}},
		{Change: &store.TierPut{Tier: store.Tier{Name: "open"}, Create: true}},
		{Account: store.DefaultAccount, Change: &store.AccountUpdate{Tier: ptr("open")}},
		{Account: store.DefaultAccount, Change: &store.KeyCreate{Key: store.Key{
			ID: "key_1", Hash: apikey.Hash(pepper, secret), Type: store.Live, Name: "n", Scopes: []string{"read", "write"}, Hint: "h", Limits: &store.Limits{MaxConcurrent: &two},
		}}},
	} {
		c.At, c.Actor = time.Now(), store.Actor{Type: store.ActorOperator, ID: "op"}
		if r, ok := s.Apply(&raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogCommand, Data: c.Encode()}).(store.Result); !ok || r.Refusal != nil {
			t.Fatalf("entry %d: %+v", i, r.Refusal)
		}
	}
	r := &boundRig{t: t, gate: admit.NewGate(admit.Config{Store: s, Grants: noGrants{}}), key: secret}
	p := New(Config{Settings: Settings{Table: compile(t, routes...)}, Gate: panickingGate{r.gate}, Observer: &testLog{}, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	r.Endpoint = apitest.Serve(t, p)
	return r
}

func ptr[T any](v T) *T { return &v }

// send begins a request and returns its connection.
func (r *boundRig) send(head, body string) (net.Conn, *bufio.Reader) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	line, rest, _ := strings.Cut(head, "\r\n")
	fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s%s", line, r.key, rest, body)
	c.SetDeadline(time.Now().Add(time.Minute))
	return c, bufio.NewReader(c)
}

// reset closes c so that the peer gets a reset.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func (r *boundRig) await(n int64, what string) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for r.gate.InFlight() != n {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %d requests in flight after a minute, want %d", what, r.gate.InFlight(), n)
		}
		runtime.Gosched()
	}
}

// However a request ends, its place is free afterwards.
func TestNoPlaceInFlightLeaks(t *testing.T) {
	stall := rawBackend(t, func(c net.Conn, br *bufio.Reader) { io.Copy(io.Discard, br) })
	stream := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
			io.Copy(io.Discard, br)
		}
	})
	drop := rawBackend(t, func(c net.Conn, br *bufio.Reader) { http.ReadRequest(br) })
	half := rawBackend(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	ok := backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	r := newBoundRig(t,
		Route{Path: "/stall", Upstreams: []string{stall}}, Route{Path: "/stream", Upstreams: []string{stream}},
		Route{Path: "/slow", Upstreams: []string{stall}, Timeouts: Timeouts{ResponseHeader: 20 * time.Millisecond}},
		Route{Path: "/drop", Upstreams: []string{drop}}, Route{Path: "/half", Upstreams: []string{half}},
		Route{Path: "/gone", Upstreams: []string{"http://127.0.0.1:1"}}, Route{Path: "/ws", Upstreams: []string{rawBackend(t, upgrading)}},
		Route{Path: "/panic", Upstreams: []string{ok}}, Route{Path: "/", Upstreams: []string{ok}},
	)
	answer := func(br *bufio.Reader) {
		if res, err := http.ReadResponse(br, nil); err == nil {
			io.Copy(io.Discard, res.Body)
		}
	}
	for name, end := range map[string]func(){
		"an answer":        func() { c, br := r.send("GET /\r\n\r\n", ""); answer(br); c.Close() },
		"an echo":          func() { c, br := r.send("POST /\r\nContent-Length: 4\r\n\r\n", "body"); answer(br); c.Close() },
		"HEAD":             func() { c, br := r.send("HEAD /\r\n\r\n", ""); br.ReadString('\n'); c.Close() },
		"reset in head":    func() { c, _ := r.send("GET /\r\n", ""); reset(c) },
		"reset after head": func() { c, _ := r.send("GET /stall\r\n\r\n", ""); r.await(1, "stall"); reset(c) },
		"reset in body": func() {
			c, _ := r.send("POST /stall\r\nContent-Length: 100\r\n\r\n", "half")
			r.await(1, "stall")
			reset(c)
		},
		"reset in stream": func() {
			c, br := r.send("GET /stream\r\n\r\n", "")
			br.ReadString('\n')
			r.await(1, "stream")
			reset(c)
		},
		"closed in stream": func() {
			c, br := r.send("GET /stream\r\n\r\n", "")
			br.ReadString('\n')
			c.Close()
		},
		"upstream drops":        func() { _, br := r.send("POST /drop\r\nContent-Length: 0\r\n\r\n", ""); answer(br) },
		"upstream drops midway": func() { _, br := r.send("GET /half\r\n\r\n", ""); answer(br) },
		"upstream is gone":      func() { _, br := r.send("GET /gone\r\n\r\n", ""); answer(br) },
		"upstream stalls":       func() { _, br := r.send("GET /slow\r\n\r\n", ""); answer(br) },
		"panic":                 func() { _, br := r.send("GET /panic\r\n\r\n", ""); answer(br) },
		"websocket": func() {
			c, br := r.send("GET /ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n", "")
			br.ReadString('\n')
			r.await(1, "websocket")
			c.Close()
		},
		"websocket reset": func() {
			c, br := r.send("GET /ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n", "")
			br.ReadString('\n')
			reset(c)
		},
		"HTTP/2":           func() { r.http2("/", nil) },
		"HTTP/2 cancelled": func() { r.http2("/stall", func() { r.await(1, "HTTP/2") }) },
		"HTTP/2 stream":    func() { r.http2("/stream", func() { r.await(1, "HTTP/2 stream") }) },
	} {
		for range 3 {
			end()
			r.await(0, name)
		}
	}
}

// http2 makes a request over HTTP/2, and cancels it after ready unless that is nil.
func (r *boundRig) http2(path string, ready func()) {
	r.t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	if ready != nil {
		go func() { ready(); cancel() }()
	}
	req, err := http.NewRequestWithContext(ctx, "GET", r.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	if res, err := tr.RoundTrip(req); err == nil {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// A third request in flight is refused, not charged, and passes once one has ended; and a
// client that has read its answer whole finds its place free, on any connection.
func TestBoundOnRequestsInFlight(t *testing.T) {
	stall := rawBackend(t, func(c net.Conn, br *bufio.Reader) { io.Copy(io.Discard, br) })
	ok := backend(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 5000)) })
	r := newBoundRig(t, Route{Path: "/stall", Upstreams: []string{stall}}, Route{Path: "/", Upstreams: []string{ok}})
	first, _ := r.send("GET /stall\r\n\r\n", "")
	r.send("GET /stall\r\n\r\n", "")
	r.await(2, "two requests")
	_, br := r.send("GET /\r\n\r\n", "")
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" || !strings.Contains(string(body), `"too_many_in_flight"`) {
		t.Errorf("the third: %d %v %s", res.StatusCode, res.Header, body)
	}
	reset(first)
	r.await(1, "one request")
	for i := range 200 { // each on a connection of its own, as soon as the one before was read
		c, br := r.send("GET /\r\n\r\n", "")
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if io.Copy(io.Discard, res.Body); res.StatusCode != 200 {
			t.Fatalf("request %d: %d", i, res.StatusCode)
		}
		c.Close()
	}
}
