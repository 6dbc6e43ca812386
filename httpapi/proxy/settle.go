package proxy

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
)

// takeCost finds the cost of an answered request: the route's fixed cost unless
// the upstream failed; or the amount in its header, and if that is missing from a
// success, the whole reserve. Where a trailer may still bring the amount, that is
// a first guess and x.late is set.
func (x *exchange) takeCost(res *h1.Answer) {
	route := x.lane.route
	var stated []string
	if route.costHeader != "" {
		stated = res.Fields.Values(route.costHeader)
	}
	switch {
	case route.costHeader == "":
		if res.Status < 500 {
			x.cost = route.cost
		}
	case len(stated) > 0:
		x.cost = x.statedCost(stated)
	default:
		// A body of unknown length may have a trailer that is not announced.
		x.late = slices.Contains(res.Announced, route.costHeader) || res.Length < 0
		if x.late || res.Status < 300 {
			x.cost = x.reserve
		}
	}
}

// takeLateCost takes the cost from the trailer of a response that has ended, once. It
// replaces a guess. Where the cost is settled already, the larger amount counts: a trailer
// of HTTP/2 may follow any body.
func (x *exchange) takeLateCost(res *h1.Answer) {
	if x.lane.route.costHeader == "" || x.trailed {
		return
	}
	x.trailed = true
	stated := res.Trailer.Values(x.lane.route.costHeader)
	switch {
	case !x.late:
		if len(stated) > 0 {
			x.raise(x.statedCost(stated))
		}
		return
	case len(stated) > 0:
		x.cost = x.statedCost(stated)
	case res.Status >= 300:
		x.cost = 0
	}
	x.settle(nil)
}

// raise charges what a larger cost has above the one that is settled.
func (x *exchange) raise(cost store.Money) {
	if x.settled && cost > x.cost {
		x.proxy.gate.Settle(&x.pass, x.cost, cost)
		x.cost = cost
	}
}

// statedCost is the amount that an upstream states in lines, of which there is at least
// one. An absurd amount counts as the largest one there is. Text that is not a number,
// and several lines, count as the reserve. An amount above the bound on the call's cost
// counts as it is, since the money is spent.
func (x *exchange) statedCost(lines []string) store.Money {
	text := strings.TrimSpace(lines[0])
	m, _, err := store.ParseMoney(text)
	switch {
	case len(lines) > 1:
		x.badCost(lines, "it is stated several times")
		return x.reserve
	case err == nil && m <= store.MaxAmount:
		if x.lane.seen.note(x.start, m); x.maxCost > 0 && m > x.maxCost {
			x.badCost(lines, "it is above the bound on the cost of this call")
		}
		return m
	case err == nil || absurd(text):
		x.badCost(lines, "it is absurdly large")
		return store.MaxAmount
	}
	x.badCost(lines, err.Error())
	return x.reserve
}

// absurd reports whether text is a number above the largest amount, which
// [store.ParseMoney] refuses.
func absurd(text string) bool {
	number, _ := strconv.ParseFloat(text, 64) // of a number out of range: infinity
	return number > float64(store.MaxAmount/store.MoneyUnit)
}

// maxShownCost bounds the part of a bad cost that is logged, in bytes.
const maxShownCost = 64

// badCost counts a stated cost that the operator has to know of, and logs it, unless
// another one of the upstream was logged within the last minute.
func (x *exchange) badCost(lines []string, why string) {
	route := x.lane.route
	x.proxy.metrics.badCosts.WithLabelValues(route.rule.Route).Inc()
	leftOut, ok := x.upstream.badCosts.turn(time.Now())
	if !ok {
		return
	}
	shown := apikey.Mask(strings.Join(lines, ", "))
	x.proxy.logger.Error("the cost that the upstream states is wrong", "route", route.rule.Route, "upstream", x.upstream.name,
		"header", route.costHeader, "cost", shown[:min(len(shown), maxShownCost)], "reason", why, "request_id", x.id, "left_out", leftOut)
}

// minutely bounds the lines about a fault that any number of requests may meet: one a
// minute. It is safe for concurrent use.
type minutely struct {
	mu      sync.Mutex // guards all fields
	last    time.Time  // of the last line; zero before the first
	leftOut int64      // faults since then
}

// turn reports whether a fault at now is to be logged, and how many before it were not.
func (m *minutely) turn(now time.Time) (leftOut int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.last.IsZero() && now.Sub(m.last) < time.Minute {
		m.leftOut++
		return 0, false
	}
	leftOut, m.leftOut, m.last = m.leftOut, 0, now
	return leftOut, true
}

// settle ends the charge of x, once: a request that reached no upstream, or that is
// refused for its body, is refunded; one that an upstream got costs its reserve,
// unless the upstream answered or failed. refused is why there was no answer.
func (x *exchange) settle(refused *fault.Error) {
	if !x.charged || x.settled {
		return
	}
	x.settled = true
	if !x.head.Load() {
		if !x.sent.Load() || x.refusedBody(refused) {
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

// refusedBody reports whether why refuses x for its body, of which an upstream may have
// a part, as too large or malformed, and the account's refusals are still forgiven. A
// client that breaks off is not refused: it has left.
func (x *exchange) refusedBody(why *fault.Error) bool {
	switch {
	case why == nil || why == errClientGone:
		return false
	case why.Code != fault.BodyTooLarge && why.Code != fault.InvalidRequest, x.body.failed() == nil:
		return false
	}
	return x.proxy.gate.Forgive(&x.pass)
}

// upstreamFailed reports whether why is a failure of the upstream that the client
// had no part in: all of its body was there, and it had not left.
func (x *exchange) upstreamFailed(why *fault.Error) bool {
	return why != nil && (why.Code == fault.UpstreamTimeout || why.Code == fault.UpstreamUnreachable) &&
		(x.body == nil || x.body.over()) && !x.down.Left()
}
