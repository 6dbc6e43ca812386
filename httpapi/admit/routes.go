package admit

import (
	"net/url"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
)

// Routes is step 1 of admission, for requests that are asked about and not sent.
// The proxy implements it with the function that finds the routes of its own
// requests.
type Routes interface {
	// Judge returns the demands of every route that may take r, at least one, or the
	// fault that the proxy would answer. "" as r's method or host is one that is not
	// known: then several routes may take it. A request without a path has no demands;
	// its method and its host can be at fault. Of r, only the method, the target and the
	// host are read.
	Judge(r *h1.Request) ([]Demand, *fault.Error)
}

// Demand is a route's demand of one request: the rule that its key must meet, and
// the price.
type Demand struct {
	Rule    Rule
	Units   int64
	Cost    store.Money // the fixed cost; 0 where there is none, or where the response reports it
	MaxCost store.Money // the route's own bound on the cost of one call; 0 is none
	// Seen is the largest cost that the responses of the route reported lately, where
	// they report it. It stands in for a bound that neither the key nor the route has.
	Seen store.Money
}

// Price is step 9 of admission without the body: the bound on the cost of one call
// of rec's, 0 for none, and the amount to reserve of its budget.
func (d *Demand) Price(rec *store.Record) (bound, reserve store.Money, _ *fault.Error) {
	bound, reserve = d.MaxCost, d.Cost
	if rec != nil && rec.MaxCost > 0 && (bound == 0 || rec.MaxCost < bound) {
		bound = rec.MaxCost
	}
	switch {
	case bound == 0:
		if rec != nil && rec.Budget > 0 {
			// Never more than the whole budget, which would refuse the key for good.
			reserve = max(reserve, min(d.Seen, rec.Budget))
		}
	case d.Cost > bound:
		return 0, 0, fault.Newf(fault.CostAboveLimit, "A call of this route costs %s, above the %s that this key may spend on one call.",
			d.Cost.AppendDecimal(nil), bound.AppendDecimal(nil))
	case d.Cost == 0:
		reserve = bound
	}
	return bound, reserve, nil
}

// MaxTarget bounds the target of a request, in bytes, as the listeners do.
const MaxTarget = 8 << 10

// demands is step 1 for q: the demands of the routes that may take such a request,
// or the fault that a client would get. Without a path no route is judged.
func (q *VerifyRequest) demands(routes Routes) (*h1.Request, []Demand, *fault.Error) {
	if q.Path == "" {
		r := &h1.Request{Method: q.Method, Host: q.Host}
		if _, f := routes.Judge(r); f != nil {
			return nil, nil, f
		}
		return r, []Demand{{Units: 1}}, nil
	}
	if len(q.Path) > MaxTarget {
		return nil, nil, fault.New(fault.URITooLong)
	}
	r, ok := q.request()
	if !ok {
		return nil, nil, fault.New(fault.InvalidRequest)
	}
	found, f := routes.Judge(r)
	return r, found, f
}

// request is q as the server of the proxy would parse it from a request line; ok is
// false where it would refuse the line.
func (q *VerifyRequest) request() (r *h1.Request, ok bool) {
	return RequestFor(q.Method, q.Host, q.Path)
}

// RequestFor is the request that a client has sent to somebody else, who tells of it; ok is
// false where the server of the proxy would refuse its target.
func RequestFor(method, host, target string) (r *h1.Request, ok bool) {
	if strings.Contains(target, " ") {
		return nil, false // it ends the target
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, false
	}
	return &h1.Request{Method: method, Target: target, Path: u.EscapedPath(), Query: u.RawQuery, Asked: u.ForceQuery || u.RawQuery != "", Host: host}, true
}
