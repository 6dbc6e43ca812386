package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/node/cluster"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/serve"
	"github.com/perfgate/perfgate/store"
)

// lone reports whether this node has no cluster listener.
func (n *Node) lone() bool { return n.config.Cluster.Listen == "" }

// coordinate returns the constructor of this node's coordinator; nil makes that of
// a lone node.
func (n *Node) coordinate() (func(*replica.Replica) replica.Coordinator, error) {
	if n.lone() {
		return nil, nil
	}
	c := n.config.Cluster
	secret, err := n.config.ClusterSecret()
	if err != nil {
		return nil, err
	}
	clustering := &cluster.Config{
		Dir: n.config.Node.DataDir, Name: n.config.Node.Name, Region: n.config.Node.Region, Version: n.options.Version, Logger: n.log,
		Listen: c.Listen, Advertise: c.Advertise, Secret: secret, Join: c.Join, Expect: c.Expect,
		Lease: c.Lease, Stale: c.WhenIsolated == "serve", Clock: n.clock, Net: n.options.Net, Draining: n.draining.Load,
		// Clients of the admin listener may know the addresses of nodes, those of the
		// proxy may not.
		Waiting:   n.adminListener.slot.Waiting,
		Calls:     cluster.Calls{Yield: n.limits.yield, Audit: n.overall.serveAudit, Observe: n.overall.serveObserve},
		Listening: func(a net.Addr) { n.log.Info("cluster listening", "addr", a.String()) },
		Token:     n.startup.token.held, KeepToken: n.startup.token.keep,
	}
	return func(r *replica.Replica) replica.Coordinator {
		n.limits.cluster = cluster.New(r, clustering)
		n.limits.cluster.Share(cluster.Sharing{Serve: n.limits.serve, Follow: n.limits.follow})
		return n.limits.cluster
	}, nil
}

// proposeGrant proposes for the node itself, within the bound of every write.
func (n *Node) proposeGrant(ctx context.Context, cmd *store.Command) (store.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, replica.ProposeTimeout)
	defer cancel()
	r, err := n.replica.Propose(ctx, cmd)
	return r.Result, err
}

// gateConfig is the configuration of admission, from c.
func (n *Node) gateConfig(c *config.Config, table *limiter.Buckets) admit.Config {
	return admit.Config{
		Serving: n.replica.Coordinator().Serving, Alone: n.replica.Coordinator().Alone,
		Store: n.store, Grants: n.limits.grants,
		Trusted: c.Proxy.TrustedProxies, ClientIPHeader: c.Proxy.ClientIPHeader, KeyHeader: c.Proxy.KeyHeader,
		Shared: !n.lone(),
		Clock:  n.clock.Read, Since: n.limits.since, BootIndex: n.startup.bootIndex, CountedFrom: n.store.ResetAt(), Buckets: table,
		Sharing: n.limits.sharer(),
		Watcher: n.alerts, Mover: &n.limits.mover,
	}
}

// proxySettings is the configuration of the proxy, from c. An error names the route.
func (n *Node) proxySettings(c *config.Config) (proxy.Settings, error) {
	routes, err := compileRoutes(c, n.echo)
	return proxy.Settings{Table: routes, Trusted: c.Proxy.TrustedProxies, KeyHeader: c.Proxy.KeyHeader, ClientIPHeader: c.Proxy.ClientIPHeader, CountryHeader: c.GeoIP.Header}, err
}

// apiConfig is the configuration of the management API.
func (n *Node) apiConfig(registry *prometheus.Registry, provider *signin.OIDC) httpapi.Config {
	c, txt := n.config, n.config.SecurityTxt
	return httpapi.Config{
		Store: n.store, Local: n.local, Audit: auditLogs{n.overall.audit.Load()}, Observed: n.overall.observed.Load(), Gate: n.gate, Routes: n.proxy, Backend: backend{n}, Logger: n.log, Registry: registry,
		Source:      httpapi.Source{Node: c.Node.Name, Version: n.options.Version, Voters: n.replica.Voters},
		Residency:   manage.Residency{Region: c.Node.Region, Bases: c.Regions},
		SelfService: c.Proxy.SelfService, MetricsOpen: c.Admin.Loopback(),
		SecurityTxt: manage.SecurityTxt{
			Contact: txt.Contact, Expires: txt.Expires, Policy: txt.Policy, Acknowledgments: txt.Acknowledgments,
			Encryption: txt.Encryption, PreferredLanguages: txt.PreferredLanguages, Canonical: txt.Canonical, Hiring: txt.Hiring,
		},
		Client:      admit.ClientFinder(c.Admin.TrustedProxies, c.Proxy.ClientIPHeader),
		Clock:       n.clock.Read,
		Bodies:      n.limits.bodies,
		WebhookWait: webhook.Timeout + time.Second, WebhookPrivate: c.Webhooks.AllowPrivate,
		Browsers: httpapi.Browsers{SignIn: rest.SignIn{Hosts: c.SignIn.AllowedHosts, Idle: c.SignIn.Idle, Max: c.SignIn.Max, Trusted: c.Admin.TrustedProxies}, OIDC: provider, Dashboard: dashboardOf(n)},
	}
}

// provider is the sign-in with a provider; nil without one.
func provider(c *config.Config) (*signin.OIDC, error) {
	o := c.SignIn.OIDC
	if o.Issuer == "" {
		return nil, nil
	}
	secret, err := c.OIDCSecret()
	if err != nil {
		return nil, err
	}
	return signin.NewOIDC(signin.OIDCConfig{Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: secret, GroupsClaim: o.GroupsClaim, Roles: o.Roles}), nil
}

// reloadParts are the parts of the node that SIGHUP can change.
func (n *Node) reloadParts(level *slog.LevelVar) []Prepare {
	parts := []Prepare{LogLevel(level), n.access.prepare, n.prepareRoutes, n.prepareSecret}
	for _, l := range n.listeners() {
		parts = append(parts, l.prepareCertificate)
	}
	return parts
}

func (n *Node) prepareRoutes(next *config.Config) (swap func(), err error) {
	settings, err := n.proxySettings(next)
	if err != nil {
		return nil, err
	}
	settings = untilRestart(settings, n.config)
	return func() { n.proxy.Reload(settings); n.reloads.routed.Store(next.Routed()) }, nil
}

// untilRestart is next with everything but the routes as the node was started with,
// as [Reloader] logs: the gate reads the same headers, and keeps them.
func untilRestart(next proxy.Settings, started *config.Config) proxy.Settings {
	p := &started.Proxy
	return proxy.Settings{Table: next.Table, Trusted: p.TrustedProxies, KeyHeader: p.KeyHeader, ClientIPHeader: p.ClientIPHeader, CountryHeader: started.GeoIP.Header}
}

// prepareSecret lets the cluster secret change. Members authenticate each other by
// certificates; only joining nodes prove the secret.
func (n *Node) prepareSecret(next *config.Config) (swap func(), err error) {
	if n.lone() {
		return func() {}, nil
	}
	secret, err := next.ClusterSecret()
	if err != nil {
		return nil, err
	}
	return func() {
		if err := n.replica.Coordinator().SetSecret(secret); err != nil {
			n.log.Error("change the cluster secret", "error", err) // its length was checked
		}
	}, nil
}

// openEcho starts the built-in upstream on a loopback port of its own, so that
// requests of a demo go through the proxy like any others.
func (n *Node) openEcho(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: proxy.Echo(), ReadHeaderTimeout: serve.HeadTimeout, IdleTimeout: serve.IdleTimeout}
	go func() { _ = s.Serve(ln) }() // ends with Close
	n.cleanup("echo service", func(context.Context) error { return s.Close() })
	n.echo = "http://" + ln.Addr().String()
	return nil
}
