package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/serve"
)

// listener is one of the two HTTP listeners of a node.
type listener struct {
	name   string              // "proxy" or "admin": its table in the configuration
	certs  *serve.Certificates // nil for plaintext
	server *serve.Server
	slot   *serve.Slot
}

// newListener reads the certificate of the listener; it is not bound yet.
func newListener(c *config.Config, name string, logger *slog.Logger) (*listener, error) {
	certs, err := openCertificates(c, name, logger)
	if err != nil {
		return nil, err
	}
	l := &listener{name: name, certs: certs, slot: serve.NewSlot(manage.Starting)}
	s := serve.Config{Name: name, Addr: c.Admin.Listen, Certs: certs, Handler: l.slot, Lane: l.slot.Lane, Logger: logger, MaxConns: serve.AdminConns(), Trusted: c.Admin.TrustedProxies}
	if name == "proxy" {
		s.Addr, s.MaxConns, s.Trusted = c.Proxy.Listen, serve.ProxyConns(), c.Proxy.TrustedProxies
		s.EventLoops = c.Proxy.EventLoops
		if c.Proxy.ProxyProtocol {
			s.ProxyProtocol = c.Proxy.TrustedProxies
		}
	}
	l.server = serve.New(s)
	return l, nil
}

// openListeners binds the listeners and serves them. Their slots answer until the
// node is assembled.
func (n *Node) openListeners(ctx context.Context) (err error) {
	if n.proxyListener, err = newListener(n.config, "proxy", n.log); err != nil {
		return err
	}
	if n.adminListener, err = newListener(n.config, "admin", n.log); err != nil {
		return err
	}
	for _, l := range n.listeners() {
		if err := l.server.Open(ctx); err != nil {
			return n.config.Fault(l.name+".listen", err.Error())
		}
		go func() {
			if err := l.server.Run(); err != nil {
				n.fatal(fmt.Errorf("serve the %s listener: %w", l.name, err))
			}
		}()
		n.cleanup(l.name+" listener", func(context.Context) error { return l.server.Close() })
	}
	return openGRPC(ctx, n)
}

func (b *bothListeners) listeners() []*listener { return []*listener{b.proxyListener, b.adminListener} }

// certificateSource tells where the certificate of the listener name comes from;
// ok is false for a plaintext listener. An admin listener off loopback without a
// certificate gets a self-signed one, kept in the data directory, unless plaintext
// is allowed there.
func certificateSource(c *config.Config, name string) (from serve.Source, ok bool) {
	t := c.Proxy.TLS
	if name == "admin" {
		t = c.Admin.TLS
	}
	from = serve.Source{CertFile: t.CertFile, KeyFile: t.KeyFile, ClientCAFile: t.ClientCAFile, TLS12: t.MinVersion == "1.2"}
	switch {
	case t.CertFile != "":
		return from, true
	case name == "proxy" || c.Admin.Insecure || c.Admin.Loopback():
		return serve.Source{}, false
	}
	from.CertFile = filepath.Join(c.Node.DataDir, datadir.AdminCertFile)
	from.KeyFile = filepath.Join(c.Node.DataDir, datadir.AdminKeyFile)
	from.SelfSigned = serve.SelfSignedNames(c.Node.Name, c.Admin.Listen)
	return from, true
}

// openCertificates reads the certificate of the listener name; nil is plaintext.
// An error about the files is a [*config.UsageError].
func openCertificates(c *config.Config, name string, logger *slog.Logger) (*serve.Certificates, error) {
	from, ok := certificateSource(c, name)
	if !ok {
		return nil, nil
	}
	certs, err := serve.OpenCertificates(name, from, logger)
	if err != nil {
		return nil, certificateFault(c, name, err)
	}
	return certs, nil
}

// certificateFault names the key of the file that err is about.
func certificateFault(c *config.Config, name string, err error) error {
	var f *serve.FileError
	if errors.As(err, &f) {
		return c.Fault(name+".tls."+f.File, f.Err.Error())
	}
	return err
}

// prepareCertificate lets a reload change the certificate of a TLS listener. A
// listener does not turn into a plaintext one while it runs: the [Reloader] says
// so.
func (l *listener) prepareCertificate(next *config.Config) (swap func(), err error) {
	from, ok := certificateSource(next, l.name)
	if !ok || l.certs == nil {
		return func() {}, nil
	}
	swap, err = l.certs.Prepare(from)
	if err != nil {
		return nil, certificateFault(next, l.name, err)
	}
	return swap, nil
}
