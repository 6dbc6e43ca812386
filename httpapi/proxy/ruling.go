package proxy

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// ruling is what a long request needs by the routes that are in force, which a reload may
// have replaced since it began. It is worked out once for each set of them, and belongs to
// the sweeper.
type ruling struct {
	live *live // that it is worked out for; nil before the first time
	rule admit.Rule
	pass *admit.Pass // what rule was judged for; nil: no key is asked for
}

// update brings the ruling of x up to the routes in force. A fault is the reason why they
// refuse x, such as that its route is gone; isolated is the fault of a node that may not
// serve, if it is one by now.
func (s *streams) update(x *exchange, isolated *fault.Error, now time.Time) *fault.Error {
	next := x.proxy.live.Load()
	switch {
	case x.ruling.live == next:
		return nil
	case x.live == next:
		x.ruling = ruling{live: next, rule: x.lane.route.rule}
		if x.pass.Record != nil {
			x.ruling.pass = &x.pass
		}
		return nil
	}
	route, preflight, f := next.table.find(x.r)
	if f != nil {
		return f
	}
	if route.rule.Public || preflight {
		x.ruling = ruling{live: next}
		return nil
	}
	pass, f := s.gate.Check(&x.life, x.r, x.client, route.rule, now)
	if f != nil {
		if f.Code == fault.NodeIsolated {
			return isolated // which may have some grace
		}
		return f
	}
	x.ruling = ruling{live: next, rule: route.rule, pass: &pass}
	if x.pass.Record != nil {
		x.ruling.pass = &x.pass // a credential may be another key's by now
	}
	return nil
}
