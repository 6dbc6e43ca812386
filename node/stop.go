package node

import (
	"context"
	"sync"
	"time"
)

// Run serves until ctx ends and then stops: it turns unready, waits shutdown_delay
// for load balancers to notice, lets requests in flight end within drain, and takes
// the node apart.
func (n *Node) Run(ctx context.Context) error {
	<-ctx.Done()
	n.draining.Store(true)
	n.log.Info("stopping: no longer ready", "shutdown_delay", n.config.Proxy.ShutdownDelay.String())
	time.Sleep(n.config.Proxy.ShutdownDelay)
	n.replica.Coordinator().HandOver()
	drain, cancel := context.WithTimeout(context.Background(), n.config.Proxy.Drain)
	defer cancel()
	var servers sync.WaitGroup
	for name, shutdown := range shutdowns(n) {
		servers.Go(func() {
			if err := shutdown(drain); err != nil {
				n.log.Warn("connections were cut off", "listener", name, "after", n.config.Proxy.Drain.String())
			}
		})
	}
	if left := n.proxy.Drain(drain); left > 0 {
		n.log.Warn("requests in flight were cut off", "requests", left, "after", n.config.Proxy.Drain.String())
	}
	servers.Wait()
	if err := n.close(); err != nil {
		return err
	}
	n.log.Info("stopped")
	return nil
}

// Abandon takes a node apart as a crash would, for tests that go on in the same
// process: requests are cut off, nothing is handed over, returned or announced.
// Other nodes have to notice by themselves.
func (n *Node) Abandon() error {
	n.replica.Abandon()
	n.proxyListener.server.Close()
	n.adminListener.server.Close()
	if n.grpc != nil {
		n.grpc.server.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	n.proxy.Drain(ctx) // no request may read a store that is closed
	return n.close()
}
