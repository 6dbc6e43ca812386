package node

import (
	"github.com/perfgate/perfgate/httpapi"
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
	return httpapi.Dashboard{Proxy: n.proxyListener.origin(), Facts: func() httpapi.Facts {
		return httpapi.Facts{
			Node: c.Node.Name, Version: n.options.Version, TLS: n.proxyListener.certs != nil, Backups: c.Backup.Dir != "",
			Doctor: doctor(n),
			Routed: c.Routed() || n.reloads.routed.Load(),
		}
	}}
}
