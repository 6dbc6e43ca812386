package node

import (
	"context"
	"time"
)

// whileLeading calls look every so often while n leads a cluster that has a state. It ends
// with ctx.
func whileLeading(ctx context.Context, n *Node, every time.Duration, look func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n.replica.Leads() && n.store.Initialized() {
				look()
			}
		}
	}
}
