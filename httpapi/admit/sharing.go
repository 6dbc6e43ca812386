package admit

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
)

// A request that lacks tokens here waits for the answers of other nodes, which come within
// 12 ms on a healthy network, for at most shareWait: then a node is taken for unreachable.
// It looks again at most shareRounds times: each time an answer came, or its own refill did.
const (
	shareWait   = 250 * time.Millisecond
	shareRounds = 64
)

// notReady is the answer while a cluster that forms has not agreed on the nodes that share
// limits.
func notReady() *fault.Error {
	return &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: "The cluster's limits are not ready yet; nothing was charged."}
}

// share fills in the part of a that counts minutes in the cluster's pool. False: it is not
// known where they are counted.
func (g *Gate) share(ctx context.Context, p *Pass, a *limiter.Ask) bool {
	at, ok := g.cfg.Sharing.Pool(ctx)
	if !ok {
		return false
	}
	a.Pool, a.Scope, a.Kind = at, string(p.Account.ID), byte(p.Record.Type)
	a.AccountCreated, a.KeyCreated = p.Account.Created, p.Record.Counted().Created
	return true
}

// gather asks other nodes for the tokens that a request lacks here, before it is refused.
// It is apart from take because its arguments live on the heap.
func (g *Gate) gather(ctx context.Context, meter *limiter.Meter, p *Pass, a *limiter.Ask) {
	_, now := g.cfg.Clock()
	deadline := now + int64(shareWait)
	a.Again = true
	for range shareRounds {
		short := p.Limits.Lacking()
		if len(short) == 0 {
			return
		}
		asked, more := g.cfg.Sharing.Fetch(ctx, short, a.Units, deadline)
		if p.asked += asked; !more {
			return
		}
		wall, mono := g.cfg.Clock()
		a.Now, a.Wall, a.Refilled = mono, wall.UnixNano(), g.refilled(mono)
		p.Limits = meter.Take(a)
		if p.Limits.NWants > 0 {
			g.extend(ctx, meter, p, a)
		}
	}
}
