package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/limiter"
)

// clustering is this node's part in a cluster; nil without a cluster listener.
func (n *Node) clustering() (*Clustering, error) {
	c := n.config.Cluster
	if c.Listen == "" {
		return nil, nil
	}
	secret, err := n.config.ClusterSecret()
	if err != nil {
		return nil, err
	}
	return &Clustering{
		Listen: c.Listen, Advertise: c.Advertise, Secret: secret, Join: c.Join, Expect: c.Expect,
		Lease: c.Lease, Stale: c.WhenIsolated == "serve", Clock: n.clock, Net: n.net, Draining: n.draining.Load,
		// The admin listener's callers may know where nodes are, the proxy's may not.
		Waiting:   func(why string) { n.adminHandler.why.Store(&why) },
		Listening: func(a net.Addr) { n.log.Info("cluster listening", "addr", a.String()) },
	}, nil
}

// gateConfig is what admission takes from the configuration c.
func (n *Node) gateConfig(c *Config, table *limiter.Buckets) admit.Config {
	var serving, alone func() bool
	if n.replica.cluster != nil {
		serving, alone = n.replica.cluster.Serving, n.replica.cluster.Alone
	}
	return admit.Config{
		Serving: serving, Alone: alone,
		Store: n.store, Grants: n.grants,
		Trusted: c.Proxy.TrustedProxies, ClientIPHeader: c.Proxy.ClientIPHeader, KeyHeader: c.Proxy.KeyHeader,
		Clock: n.clock.Read, Since: n.since, BootIndex: n.bootIndex, CountedFrom: n.store.ResetAt(), Buckets: table,
	}
}

// proxySettings is what the proxy takes from c; an error names the route.
func (n *Node) proxySettings(c *Config) (proxy.Settings, error) {
	routes, err := c.Routes(n.echo)
	return proxy.Settings{Table: routes, Trusted: c.Proxy.TrustedProxies, KeyHeader: c.Proxy.KeyHeader}, err
}

// apiConfig is what the management API takes from the node.
func (n *Node) apiConfig(registry *prometheus.Registry) httpapi.Config {
	c, txt := n.config, n.config.SecurityTxt
	return httpapi.Config{
		Store: n.store, Local: n.local, Gate: n.gate, Backend: backend{n.replica, n}, Logger: n.log, Registry: registry,
		Node: c.Node.Name, Version: n.version,
		SelfService: c.Proxy.SelfService, MetricsOpen: c.Admin.Loopback(),
		SecurityTxt: httpapi.SecurityTxt{
			Contact: txt.Contact, Expires: txt.Expires, Policy: txt.Policy, Acknowledgments: txt.Acknowledgments,
			Encryption: txt.Encryption, PreferredLanguages: txt.PreferredLanguages, Canonical: txt.Canonical, Hiring: txt.Hiring,
		},
		Client: admit.ClientFinder(c.Admin.TrustedProxies, c.Proxy.ClientIPHeader),
		Clock:  n.clock.Read,
	}
}

// reloadParts are what SIGHUP can change.
func (n *Node) reloadParts(level *slog.LevelVar) []Prepare {
	parts := []Prepare{LogLevel(level), n.prepareRoutes, n.prepareSecret}
	for _, c := range []*Certificates{n.proxyCerts, n.adminCerts} {
		if c != nil {
			parts = append(parts, c.Prepare)
		}
	}
	return parts
}

func (n *Node) prepareRoutes(next *Config) (swap func(), err error) {
	settings, err := n.proxySettings(next)
	if err != nil {
		return nil, err
	}
	// Routes alone are new: whom this node believes, and where it looks for keys,
	// stays as it was until a restart, as the log says of those keys.
	settings.Trusted, settings.KeyHeader = n.config.Proxy.TrustedProxies, n.config.Proxy.KeyHeader
	return func() { n.proxy.Reload(settings) }, nil
}

// prepareSecret lets the cluster secret change: nodes that are members know each
// other by certificates, so that only joining ones have to have the same.
func (n *Node) prepareSecret(next *Config) (swap func(), err error) {
	if n.replica.cluster == nil {
		return func() {}, nil
	}
	secret, err := next.ClusterSecret()
	if err != nil {
		return nil, err
	}
	return func() {
		if err := n.replica.cluster.Mesh.SetSecret(secret); err != nil {
			n.log.Error("take over the cluster secret", "error", err) // its length was checked
		}
	}, nil
}

// openEcho starts the built-in upstream on a loopback port of its own, so that a
// demo goes through the proxy like any other request.
func (n *Node) openEcho(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: proxy.Echo(), ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout}
	go s.Serve(ln) // ends with Close
	n.cleanup("echo service", func(context.Context) error { return s.Close() })
	n.echo = "http://" + ln.Addr().String()
	return nil
}
