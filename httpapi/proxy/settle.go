package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// takeCost finds the cost of an answered request: the route's fixed cost unless
// the upstream failed; or the amount in its header, and if that is missing from a
// success, the whole reserve. Where a trailer may still bring the amount, that is
// a first guess and x.late is set.
func (x *exchange) takeCost(res *http.Response) {
	route := x.lane.route
	stated := res.Header[route.costHeader]
	switch {
	case route.costHeader == "":
		if res.StatusCode < 500 {
			x.cost = route.cost
		}
	case len(stated) == 1:
		x.cost = x.statedCost(stated[0])
	default:
		// HTTP/2 need not announce a trailer.
		_, announced := res.Trailer[route.costHeader]
		x.late = announced || res.ProtoMajor == 2 && res.ContentLength < 0
		if x.late || res.StatusCode < 300 {
			x.cost = x.reserve
		}
	}
}

// takeLateCost takes the cost from the trailer of a response that has ended.
func (x *exchange) takeLateCost(res *http.Response) {
	if !x.late || x.settled {
		return
	}
	if stated := res.Trailer[x.lane.route.costHeader]; len(stated) == 1 {
		x.cost = x.statedCost(stated[0])
	} else if res.StatusCode >= 300 {
		x.cost = 0
	}
	x.settle(nil)
}

// statedCost is the amount that an upstream states. An absurd amount counts as the
// largest one there is. Text that is not a number counts as the reserve.
func (x *exchange) statedCost(text string) store.Money {
	text = strings.TrimSpace(text)
	m, _, err := store.ParseMoney(text)
	if err == nil && m <= store.MaxAmount {
		x.lane.seen.note(x.start, m)
		return m
	}
	route := x.lane.route
	x.proxy.metrics.badCosts.WithLabelValues(route.rule.Route).Inc()
	x.proxy.logger.Error("the upstream's cost is no amount, or an absurd one", "route", route.rule.Route,
		"header", route.costHeader, "request_id", x.id, "error", err)
	if f, _ := strconv.ParseFloat(text, 64); err == nil || f > 1 {
		return store.MaxAmount
	}
	return x.reserve
}

// settle ends the charge of x, once: a request that reached no upstream, or whose
// body turned out too large, is refunded; one that an upstream got costs its
// reserve, unless the upstream answered or failed. refused is why there was no
// answer.
func (x *exchange) settle(refused *fault.Error) {
	if !x.charged || x.settled {
		return
	}
	x.settled = true
	if !x.head.Load() {
		if !x.sent.Load() || refused != nil && refused.Code == fault.BodyTooLarge {
			x.proxy.gate.Refund(&x.pass, x.lane.route.units, x.reserve)
			x.refunded = true
			return
		}
		if !x.upstreamFailed(refused) {
			x.cost = max(x.reserve, x.lane.route.cost)
		}
	}
	if x.reserve != 0 || x.cost != 0 {
		x.proxy.gate.Settle(&x.pass, x.reserve, x.cost)
	}
}

// upstreamFailed reports whether why is a failure of the upstream that the client
// had no part in: all of its body was there, and it had not left.
func (x *exchange) upstreamFailed(why *fault.Error) bool {
	return why != nil && (why.Code == fault.UpstreamTimeout || why.Code == fault.UpstreamUnreachable) &&
		(x.body == nil || x.body.over()) && x.r.Context().Err() == nil
}
