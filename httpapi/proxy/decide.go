package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// headerMaxCost tells the asking proxy the bound on the cost of one call, which its upstream
// has to hold the body to: a decision does not see it.
const headerMaxCost = "X-Perf-Max-Cost-Per-Call"

// Decision is the answer to a request that another proxy forwards: 200 with the headers that
// identify the key if it may pass, or else what this proxy would have answered.
type Decision struct {
	Status int
	Fields h1.Fields
	Body   []byte
	// Withheld are the names of the client's fields that must not reach the upstream, with
	// the credential among them, and that Fields does not replace.
	Withheld []string
}

// Decide takes r through the steps of a request of this proxy, all but the forwarding. A request
// that may pass is charged as one that an upstream has answered: the fixed cost of its
// route, or the whole reserve where the upstream would state the cost. It counts as in flight
// only while it is decided.
func (p *Proxy) Decide(ctx context.Context, r *h1.Request, id string) *Decision {
	a := &asked{ctx: ctx}
	p.serve(a, r, id)
	return &a.Decision
}

// grant answers a request that is only decided.
func grant(x *exchange) *fault.Error {
	if f := x.still(); f != nil {
		return f
	}
	if route := x.lane.route; route.costHeader != "" {
		x.cost = x.reserve
	} else {
		x.cost = route.cost
	}
	x.head.Store(true) // for the charge: an upstream has it
	x.settle(nil)
	x.out.Reset()
	x.out.setIdentity(&x.pass)
	if x.maxCost > 0 {
		x.out.Add(headerMaxCost, string(x.maxCost.AppendDecimal(nil)))
	}
	if a, ok := x.down.(*asked); ok {
		a.Withheld = withheld(x)
	}
	x.proxy.gate.Leave(&x.pass)
	x.beginResponse(http.StatusOK, &x.out.Fields, 0)
	return nil
}

// withheld are the names of x's fields that must not reach an upstream and that x.out does not
// replace.
func withheld(x *exchange) (names []string) {
	in := &x.r.Fields
	for name := range in.All() {
		own := dropped(name, x.live.keyHeader) && !(x.pass.UpstreamsOwn && name == "Authorization")
		if (own || holdsKey(in.Values(name))) && !x.out.Has(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// asked is the client's side of a request that is only decided.
type asked struct {
	ctx context.Context
	Decision
}

var errNoConn = errors.New("a decision has no connection")

func (a *asked) Context() context.Context { return a.ctx }
func (a *asked) Left() bool               { return a.ctx.Err() != nil }
func (a *asked) Flush() error             { return nil }

// Nothing is read from the client, and nothing but the answer is written.

func (a *asked) Body() io.Reader                          { return nil }
func (a *asked) OnLeave(func())                           {}
func (a *asked) Interim(int, *h1.Fields)                  {}
func (a *asked) End(*h1.Fields)                           {}
func (a *asked) SetReadDeadline(time.Time)                {}
func (a *asked) SetWriteDeadline(time.Time)               {}
func (a *asked) Hijack() (net.Conn, *bufio.Reader, error) { return nil, nil, errNoConn }

func (a *asked) Write(p []byte) (int, error) {
	a.Decision.Body = append(a.Decision.Body, p...)
	return len(p), nil
}

func (a *asked) Begin(status int, f *h1.Fields, lines []byte, _ int64) {
	a.Status = status
	for name, value := range f.All() {
		if name != "Content-Length" {
			a.Fields.Add(name, value)
		}
	}
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if name, value, ok := strings.Cut(string(line), ": "); ok {
			a.Fields.Add(name, value)
		}
	}
}
