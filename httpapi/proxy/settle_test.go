package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// A request costs nothing but its minute if no upstream got it, and its reserve
// if the client left after an upstream got it.
func TestEndsWithoutAnAnswer(t *testing.T) {
	got := make(chan struct{}, 1)
	silent := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case got <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	})
	reader := backend(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	r := newRig(t, Settings{},
		Route{Path: "/down", Upstreams: []string{closedPort(t)}, Cost: "0.5"},
		Route{Path: "/small", Upstreams: []string{reader}, Cost: "0.5", MaxBody: "1KiB"},
		Route{Path: "/silent", Upstreams: []string{silent}, Cost: "0.5"},
		Route{Path: "/stated", Upstreams: []string{silent}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"},
	)
	const half = store.MoneyUnit / 2
	late := func(*admit.Pass) *fault.Error { return fault.New(fault.KeyRevoked) }
	for _, c := range []struct {
		name, path string
		still      func(*admit.Pass) *fault.Error
		large      bool // the body exceeds the route's bound
		leaves     bool // the client leaves while the upstream works
		units      int64
		cost       store.Money
	}{
		{name: "nothing listens", path: "/down"},
		{name: "last check refuses", path: "/silent", still: late},
		{name: "body too large", path: "/small", large: true},
		{name: "client leaves", path: "/silent", leaves: true, units: 1, cost: half},
		{name: "client leaves, cost in a header", path: "/stated", leaves: true, units: 1, cost: half},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.t, r.gate.still = t, c.still
			before, reserved, settled := r.gate.money()
			switch {
			case c.leaves:
				conn, _ := r.dial()
				io.WriteString(conn, "POST "+c.path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 0\r\n\r\n")
				within(t, "the upstream gets the request", got)
				conn.Close()
			case c.large:
				conn, _ := r.dial()
				io.WriteString(conn, "POST "+c.path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n")
				conn.Write(make([]byte, 2048))
			default:
				r.do("POST", c.path, "")
			}
			o := r.log.next(t)
			units, reserved2, settled2 := r.gate.money()
			if units-before != c.units || o.Units != c.units {
				t.Errorf("%d units charged, %d observed, want %d", units-before, o.Units, c.units)
			}
			if cost := reserved2 + settled2 - reserved - settled; cost != c.cost || o.Cost != c.cost {
				t.Errorf("cost %d, observed %d, want %d", cost, o.Cost, c.cost)
			}
		})
	}
}

// A cost is settled as soon as it is known: with the head, or else with the end.
// An absurd one counts as the largest amount.
func TestCostIsSettledWhenKnown(t *testing.T) {
	head, trailer, hold := "", "", make(chan struct{})
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Cost")
		if head != "" {
			w.Header().Set("X-Cost", head)
		}
		w.Write([]byte("first"))
		http.NewResponseController(w).Flush()
		<-hold
		if trailer != "" {
			w.Header().Set("X-Cost", trailer)
		}
	})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"})
	for _, c := range []struct {
		head, trailer string
		early, cost   store.Money
	}{
		{"0.1", "", store.MoneyUnit / 10, store.MoneyUnit / 10},
		{"", "0.2", store.MoneyUnit / 2, store.MoneyUnit / 5},
		{"", "", store.MoneyUnit / 2, store.MoneyUnit / 2},
		{"9000000000", "", store.MaxAmount, store.MaxAmount},
		{"1e99", "", store.MaxAmount, store.MaxAmount},
	} {
		head, trailer = c.head, c.trailer
		_, reserved, settled := r.gate.money()
		res := r.do("GET", "/", "")
		io.ReadFull(res.Body, make([]byte, 5))
		_, reserved2, settled2 := r.gate.money()
		if cost := reserved2 + settled2 - reserved - settled; cost != c.early {
			t.Errorf("%q, %q: %d is taken while the response streams, want %d", c.head, c.trailer, cost, c.early)
		}
		hold <- struct{}{}
		text(t, res)
		if o := r.log.next(t); o.Cost != c.cost {
			t.Errorf("%q, %q: cost %d, want %d", c.head, c.trailer, o.Cost, c.cost)
		}
		_, reserved2, settled2 = r.gate.money()
		if cost := reserved2 + settled2 - reserved - settled; cost != c.cost {
			t.Errorf("%q, %q: settled at %d, want %d", c.head, c.trailer, cost, c.cost)
		}
	}
}

// The rest of a reserve is free before the client can have the whole of an answer whose
// length is stated, over every pair of protocols: its next call finds the room.
func TestCostIsSettledBeforeTheLastOctet(t *testing.T) {
	const half, tenth = store.MoneyUnit / 2, store.MoneyUnit / 10
	var status int
	var head string
	var hold chan struct{}
	answer := func(w http.ResponseWriter, r *http.Request) {
		hold := hold // the next request has another
		if head != "" {
			w.Header().Set("X-Cost", head)
		}
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(status)
		io.WriteString(w, "whole")
		http.NewResponseController(w).Flush()
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	h2, _ := overHTTP2(t)
	for _, upstream2 := range []bool{false, true} {
		r := newRig(t, Settings{}, Route{Path: "/stated", Upstreams: []string{upstreamOf(t, upstream2, answer)}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"},
			Route{Path: "/fixed", Upstreams: []string{upstreamOf(t, upstream2, answer)}, Cost: "0.5"})
		for name, tr := range map[string]*http.Transport{"HTTP/1.1": {Protocols: protocols(false)}, "HTTP/2": h2} {
			t.Cleanup(tr.CloseIdleConnections)
			for _, c := range []struct {
				path   string
				status int
				head   string
				want   store.Money
			}{
				{"/stated", 200, "0.1", tenth}, {"/stated", 200, "", half}, {"/stated", 404, "", 0}, {"/stated", 500, "", 0}, {"/stated", 500, "0.1", tenth},
				{"/fixed", 200, "", half}, {"/fixed", 404, "", half}, {"/fixed", 500, "", 0},
			} {
				status, head, hold = c.status, c.head, make(chan struct{})
				_, reserved, settled := r.gate.money()
				req, _ := http.NewRequest("GET", r.srv.URL+c.path, nil)
				req.Header.Set("Authorization", "Bearer good")
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(res.Body, got); err != nil || res.StatusCode != c.status || string(got) != "whole" {
					t.Fatalf("status %d, %q, %v", res.StatusCode, got, err)
				}
				_, reserved2, settled2 := r.gate.money()
				if cost := reserved2 + settled2 - reserved - settled; cost != c.want {
					t.Errorf("%s, upstream HTTP/2 %v, %s, status %d, cost %q: %d is taken when the client has the answer, want %d", name, upstream2, c.path, c.status, c.head, cost, c.want)
				}
				close(hold)
				res.Body.Close()
				if o := r.log.next(t); o.Cost != c.want {
					t.Errorf("%s, upstream HTTP/2 %v, %s, status %d, cost %q: cost %d, want %d", name, upstream2, c.path, c.status, c.head, o.Cost, c.want)
				}
			}
		}
	}
}

// A cost counts from a trailer that is not announced, whatever the protocol and the length
// of the body; where the head states one too, the larger one counts.
func TestCostInAnUnannouncedTrailer(t *testing.T) {
	const half, fifth, tenth = store.MoneyUnit / 2, store.MoneyUnit / 5, store.MoneyUnit / 10
	var status int
	var head, trailer, length string
	answer := func(w http.ResponseWriter, r *http.Request) {
		if head != "" {
			w.Header().Set("X-Cost", head)
		}
		if length != "" {
			w.Header().Set("Content-Length", length)
		}
		w.WriteHeader(status)
		w.Write([]byte("body"))
		http.NewResponseController(w).Flush()
		if trailer != "" {
			w.Header().Set(http.TrailerPrefix+"X-Cost", trailer)
		}
	}
	for _, http2 := range []bool{false, true} {
		r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{upstreamOf(t, http2, answer)}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"})
		for _, c := range []struct {
			status                int
			head, trailer, length string
			want                  store.Money
		}{
			{200, "", "0.2", "", fifth}, {200, "", "2", "", 2 * store.MoneyUnit}, {200, "", "", "", half}, {500, "", "0.2", "", fifth}, {500, "", "", "", 0},
			{200, "0.1", "0.2", "", fifth}, {200, "0.2", "0.1", "", fifth}, {200, "0.1", "", "", tenth}, {200, "0", "0.1", "", tenth}, {500, "0.1", "0.2", "", fifth},
			{200, "0.1", "x", "", half}, {200, "", "2", "4", 2 * store.MoneyUnit}, {500, "", "0.2", "4", fifth}, {200, "0.1", "0.2", "4", fifth}, {200, "0.1", "", "4", tenth},
		} {
			if c.length != "" && !http2 {
				continue // HTTP/1.1 has no trailer there
			}
			status, head, trailer, length = c.status, c.head, c.trailer, c.length
			_, reserved, settled := r.gate.money()
			text(t, r.do("GET", "/", ""))
			o := r.log.next(t)
			_, reserved2, settled2 := r.gate.money()
			if cost := reserved2 + settled2 - reserved - settled; o.Cost != c.want || cost != c.want {
				t.Errorf("HTTP/2 %v, status %d, head %q, trailer %q, length %q: it costs %d, settled at %d, want %d", http2, c.status, c.head, c.trailer, c.length, o.Cost, cost, c.want)
			}
		}
	}
}

// A request that is refused because its body is malformed or too large costs nothing, as
// long as the account's refused bodies are forgiven; then it costs its reserve, as if the
// client had left, which is never forgiven. Where no upstream has a byte of it, a body
// that is too large costs nothing in any case.
func TestMalformedBodiesAreRefunded(t *testing.T) {
	const half = store.MoneyUnit / 2
	reader := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler) // no answer to half a request
		}
	})
	type request struct {
		name, framing, body string
		leaves              bool
		free, unforgiven    bool // costs nothing, also when no more is forgiven
	}
	var requests []request
	for _, c := range brokenBodies {
		requests = append(requests, request{name: c.name, framing: c.framing, body: c.body, free: true})
	}
	requests = append(requests,
		request{name: "too large", framing: "Transfer-Encoding: chunked", body: "800\r\n" + strings.Repeat("x", 2048), free: true},
		request{name: "announced as too large", framing: "Content-Length: 2048", body: strings.Repeat("x", 2048), free: true, unforgiven: true},
		request{name: "leaves in a chunk", framing: "Transfer-Encoding: chunked", body: "5\r\nabc", leaves: true},
		request{name: "leaves in the body", framing: "Content-Length: 5", body: "abc", leaves: true},
	)
	for _, c := range requests {
		for _, unforgiving := range []bool{false, true} {
			name := c.name
			if unforgiving {
				name += ", unforgiven"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{reader}, Cost: "0.5", MaxBody: "1KiB"})
				r.gate.unforgiving.Store(unforgiving)
				conn, br := r.dial()
				io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+cred+c.framing+"\r\n\r\n"+c.body)
				if c.leaves {
					conn.(*net.TCPConn).CloseWrite()
				}
				res, err := http.ReadResponse(br, nil)
				if err != nil || res.StatusCode != 400 && res.StatusCode != 413 {
					t.Fatalf("%+v, %v", res, err)
				}
				units, cost := int64(1), half
				if c.free && (!unforgiving || c.unforgiven) {
					units, cost = 0, 0
				}
				o := r.log.next(t)
				charged, reserved, settled := r.gate.money()
				if charged != units || o.Units != units || reserved+settled != cost || o.Cost != cost {
					t.Errorf("%d units are charged and %d observed, want %d; cost %d, observed %d, want %d", charged, o.Units, units, reserved+settled, o.Cost, cost)
				}
			})
		}
	}
}
