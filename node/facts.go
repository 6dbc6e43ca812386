package node

import (
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/node/config"
)

// Facts implements [httpapi.Backend].
func (b backend) Facts() manage.Facts {
	n, c := b.node, b.node.config
	out := manage.Facts{Node: c.Node.Name, Version: n.options.Version, AuditRequests: c.Audit.Requests}
	for _, l := range n.listeners() {
		out.Listeners = append(out.Listeners, l.facts(c))
	}
	if n.grpc != nil {
		out.Listeners = append(out.Listeners, grpcFacts(n))
	}
	if s := n.background.backups; s != nil {
		out.Backup = manage.BackupFacts{Scheduled: true, Sealed: s.To.String(), Encrypted: !s.To.None(), Every: s.Every, Last: s.Last(), Behind: s.Behind()}
	}
	return out
}

// facts describe the listener as c has set it up.
func (l *listener) facts(c *config.Config) manage.ListenerFacts {
	addr, t := c.Admin.Listen, c.Admin.TLS
	if l.name == "proxy" {
		addr, t = c.Proxy.Listen, c.Proxy.TLS
	}
	f := manage.ListenerFacts{Name: l.name, Table: l.name + ".tls", Loopback: config.Loopback(addr)}
	if l.certs == nil {
		return f
	}
	f.TLS, f.MinVersion, f.ClientCerts = true, t.MinVersion, t.ClientCAFile != ""
	f.SelfSigned, f.Ends = t.CertFile == "", l.certs.Leaf().NotAfter
	return f
}

// grpcFacts describe the listener for gRPC, which has the certificate of the proxy off loopback.
func grpcFacts(n *Node) manage.ListenerFacts {
	f := n.proxyListener.facts(n.config)
	f.Name, f.Loopback = "grpc", config.Loopback(n.config.Doors.GRPCListen)
	switch {
	case f.Loopback:
		return manage.ListenerFacts{Name: f.Name, Table: f.Table, Loopback: true}
	case f.TLS:
		f.MinVersion = "1.3"
	}
	return f
}
