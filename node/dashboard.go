package node

import (
	"net"

	"github.com/perfgate/perfgate/httpapi"
)

// dashboardOf are the settings of n's dashboard.
func dashboardOf(n *Node) httpapi.Dashboard {
	scheme, encrypted := "http", n.proxyListener.certs != nil
	if encrypted {
		scheme = "https"
	}
	_, port, _ := net.SplitHostPort(n.proxyListener.server.Addr().String()) // it listens
	c := n.config
	return httpapi.Dashboard{Proxy: scheme + "://:" + port, Facts: func() httpapi.Facts {
		return httpapi.Facts{
			Node: c.Node.Name, Version: n.options.Version, TLS: encrypted, Backups: c.Backup.Dir != "",
			Routed: c.Routed() || n.reloads.routed.Load(),
		}
	}}
}
