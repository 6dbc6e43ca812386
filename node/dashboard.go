package node

import (
	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/store"
)

// origin is how a browser on this machine reaches the listener.
func (l *listener) origin() string {
	scheme := "http://"
	if l.certs != nil {
		scheme = "https://"
	}
	return scheme + reachable(l.server.Addr().String())
}

// dashboardOf are the settings of n's dashboard.
func dashboardOf(n *Node) httpapi.Dashboard {
	c := n.config
	opens := func(scopes, routes []string) []httpapi.Opening { return openings(n.proxy.Opens(scopes, routes)) }
	return httpapi.Dashboard{Proxy: n.proxyListener.origin(), Opens: opens, Facts: func() httpapi.Facts {
		return httpapi.Facts{
			Node: c.Node.Name, Version: n.options.Version, TLS: n.proxyListener.certs != nil, Backups: c.Backup.Dir != "",
			Doctor: doctor(n),
			Routed: c.Routed() || n.reloads.routed.Load(),
			Trials: n.store.ClusterLevel() >= store.LevelOfTrials,
		}
	}}
}

// openings are the proxy's answer about a key, for the dashboard.
func openings(of []proxy.Opening) []httpapi.Opening {
	list := make([]httpapi.Opening, len(of))
	for i, o := range of {
		list[i] = httpapi.Opening(o)
	}
	return list
}
