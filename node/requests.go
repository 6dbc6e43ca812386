package node

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/door"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/recovery"
)

// background are the goroutines of a node that end before its limits are saved.
type background struct {
	ctx   context.Context
	tasks sync.WaitGroup

	backups *recovery.Backups // from openBackups; nil if none are scheduled
}

// run starts do, which must return soon after its context has ended.
func (b *background) run(do func(context.Context)) { b.tasks.Go(func() { do(b.ctx) }) }

// openBackground starts the goroutines that every node has.
func (n *Node) openBackground() {
	ctx, stop := context.WithCancel(context.Background())
	n.background.ctx = ctx
	n.cleanup("background tasks", func(context.Context) error {
		stop()
		n.background.tasks.Wait()
		return nil
	})
	n.background.run(n.limits.grants.Run)
	if !n.lone() {
		n.background.run(n.limits.grants.RunRecalls)
	}
	n.background.run(n.limits.tick)
	n.background.run(moving{n}.run)
	if s := n.limits.sharing.Load(); s != nil {
		n.background.run(s.Run)
	}
	n.background.run(n.rotateData)
	if places := n.startup.places; places != nil {
		n.background.run(places.Run)
	}
	n.background.run(n.options.Memory.pace)
	for _, l := range n.listeners() {
		if l.certs != nil {
			n.background.run(l.certs.Run)
		}
	}
}

// openRequests builds everything that requests go through, then sets the handlers
// of the listeners.
func (n *Node) openRequests(ctx context.Context) error {
	registry := newRegistry(n)
	if err := n.openBackups(registry); err != nil {
		return err
	}
	if err := n.openLimits(); err != nil {
		return err
	}
	if s := n.limits.sharing.Load(); s != nil {
		registry.MustRegister(s.Collectors()...)
	}
	n.openBackground()
	sendTelemetry(n, registry)
	if err := n.openNotices(); err != nil {
		return err
	}
	n.gate = admit.NewGate(n.gateConfig(n.config, n.limits.levels.Table))
	if err := n.openProxy(ctx, registry); err != nil {
		return err
	}
	if err := n.openOverall(); err != nil {
		return err
	}
	provider, err := provider(n.config)
	if err != nil {
		return err
	}
	api, err := httpapi.New(n.apiConfig(registry, provider))
	if err != nil {
		return err
	}
	n.background.run(api.Run)
	n.adminListener.slot.Set(api.Admin())
	d := door.NewForwardAuth(n.proxy, n.config.Doors.ForwardAuthFrom)
	n.proxyListener.slot.SetLane(d.Lane(api.Lane(n.proxy.Serve)))
	n.proxyListener.slot.Set(d.Handler(api.Proxy(n.proxy)))
	if n.grpc != nil {
		n.grpc.door.Set(n.proxy, n.gate)
	}
	return n.startupWrites(ctx)
}

// openProxy builds the proxy, with the built-in upstream if the demo runs.
func (n *Node) openProxy(ctx context.Context, registry *prometheus.Registry) error {
	if n.config.RunsDemo() {
		if err := n.openEcho(ctx); err != nil {
			return err
		}
	}
	settings, err := n.proxySettings(n.config)
	if err != nil {
		return err
	}
	n.access = newAccessLog(n.local, n.options.Out, n.log, n.config.Log)
	n.background.run(n.access.run)
	registry.MustRegister(n.access.collector())
	n.proxy = proxy.New(proxy.Config{
		Settings: settings, Gate: n.gate, Observer: n.access, Logger: n.log, Registry: registry,
		Node: n.replica.Identity().ID, Bodies: n.limits.bodies,
	})
	return nil
}

// startupWrites makes the writes of a start: a given operator token and the demo's key. A
// node of a cluster may have to wait for others with them, and answers meanwhile.
// A lone node has replaced the token with its state, in initialize.
func (n *Node) startupWrites(ctx context.Context) error {
	if n.lone() {
		if n.config.RunsDemo() {
			return n.demo(ctx)
		}
		return nil
	}
	n.background.run(func(ctx context.Context) {
		err := n.whenReady(ctx, func(ctx context.Context) error { return n.startup.replaceToken(ctx, n.config.OperatorToken()) })
		if err != nil {
			n.log.Error("replace the operator token with PERFGATE_OPERATOR_TOKEN", "error", err)
		}
	})
	if n.config.RunsDemo() {
		n.background.run(func(ctx context.Context) {
			if err := n.whenReady(ctx, n.demo); err != nil {
				n.log.Warn("create the demo key", "error", err)
			}
		})
	}
	return nil
}
