package node

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/perfgate/perfgate/node/audit"
	"github.com/perfgate/perfgate/node/metering"
	"github.com/perfgate/perfgate/node/observe"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/sink"
	"github.com/perfgate/perfgate/store"
)

// overall are the parts that know something over all nodes. Other nodes may ask before
// they are open, and they are nil until then.
type overall struct {
	audit    atomic.Pointer[audit.Log]
	observed atomic.Pointer[observe.Nodes]
	sinks    atomic.Pointer[[]*sink.Sink]
	feed     atomic.Pointer[metering.Feed]
}

// openOverall opens them.
func (n *Node) openOverall() error {
	n.openAudit()
	if err := n.overall.openSinks(n); err != nil {
		return err
	}
	if err := n.overall.openMetering(n); err != nil {
		return err
	}
	c := observe.Config{Local: n.local, Watcher: n.startup.watcher, Logger: n.log, Found: openFindings(n), Failing: n.alerts.Failing}
	if !n.lone() {
		c.Ask, c.Others = n.replica.Coordinator().AskObserve, n.others
	}
	nodes := observe.New(c)
	n.overall.observed.Store(nodes)
	n.background.run(n.endOverlaps)
	n.background.run(trials{n}.run)
	n.background.run((&eraser{n, make(map[store.ErasureID]store.ErasureNode)}).run)
	n.background.run(func(ctx context.Context) { n.startup.watcher.Run(ctx, nodes) })
	return nil
}

// failing asks all nodes for an account's refused credentials; nil while this node starts.
func (o *overall) failing(ctx context.Context, account store.AccountID) [][]byte {
	nodes := o.observed.Load()
	if nodes == nil {
		return nil
	}
	return nodes.Failing(ctx, account)
}

// serveObserve answers another node about the requests that this one served.
func (o *overall) serveObserve(ctx context.Context, body []byte) ([]byte, error) {
	nodes := o.observed.Load()
	if nodes == nil {
		return nil, replica.Refuse(replica.ErrUnavailable, errors.New("this node is starting"))
	}
	return nodes.Serve(ctx, body)
}
