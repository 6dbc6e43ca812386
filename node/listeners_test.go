package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/serve"
	"github.com/perfgate/perfgate/store/logtest"
)

// pair makes a certificate for name and returns its table for the file.
func pair(t *testing.T, name string) config.TLS {
	t.Helper()
	dir := t.TempDir()
	c := config.TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), MinVersion: "1.3"}
	from := serve.Source{CertFile: c.CertFile, KeyFile: c.KeyFile, SelfSigned: []string{name}}
	if _, err := serve.OpenCertificates("proxy", from, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Off loopback, an admin listener without certificates makes its own.
func TestCertificateSource(t *testing.T) {
	for _, tt := range []struct {
		listen   string
		insecure bool
		tls      bool
	}{
		{"127.0.0.1:0", false, false}, {"[::1]:0", false, false}, {"localhost:0", false, false}, {"127.9.9.9:0", false, false},
		{":0", false, true}, {"0.0.0.0:0", false, true}, {"10.0.0.1:0", false, true}, {"example.com:0", false, true},
		{":0", true, false},
	} {
		c := mustLoad(t, []string{"--admin-listen", tt.listen, "--data-dir", t.TempDir()})
		c.Admin.Insecure = tt.insecure
		certs, err := openCertificates(c, "admin", slog.New(slog.DiscardHandler))
		if err != nil || (certs != nil) != tt.tls {
			t.Errorf("%s, insecure %v: TLS %v, %v; want %v", tt.listen, tt.insecure, certs != nil, err, tt.tls)
		}
		if from, _ := certificateSource(c, "admin"); tt.tls && filepath.Dir(from.CertFile) != c.Node.DataDir {
			t.Errorf("%s: the certificate is made at %s", tt.listen, from.CertFile)
		}
		if _, ok := certificateSource(c, "proxy"); ok {
			t.Errorf("%s: the proxy has a certificate", tt.listen)
		}
	}

	// The floor is the listener's own.
	files := pair(t, "localhost")
	c := mustLoad(t, nil)
	c.Proxy.TLS, c.Admin.TLS = files, files
	c.Proxy.TLS.MinVersion = "1.2"
	for name, want := range map[string]uint16{"proxy": tls.VersionTLS12, "admin": tls.VersionTLS13} {
		certs, err := openCertificates(c, name, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if v := certs.Config().MinVersion; v != want {
			t.Errorf("the floor of %s is %x, want %x", name, v, want)
		}
	}
}

// Faults of certificate files name the key, at a start and in check-config.
func TestCertificateFaults(t *testing.T) {
	good, other := pair(t, "localhost"), pair(t, "localhost")
	junk := configtest.File(t, "junk")
	for want, tls := range map[string]config.TLS{
		`proxy.tls.cert_file = "/nonexistent": no such file`: {CertFile: "/nonexistent", KeyFile: good.KeyFile},
		`proxy.tls.key_file = "/nonexistent": no such file`:  {CertFile: good.CertFile, KeyFile: "/nonexistent"},
		"private key does not match public key":              {CertFile: good.CertFile, KeyFile: other.KeyFile},
		`.toml": tls: failed`:                                {CertFile: junk, KeyFile: good.KeyFile},
		`.toml": there is no certificate`:                    {CertFile: good.CertFile, KeyFile: good.KeyFile, ClientCAFile: junk},
	} {
		c := mustLoad(t, []string{"--config", configtest.File(t, fmt.Sprintf("[proxy.tls]\ncert_file = %q\nkey_file = %q\nclient_ca_file = %q", tls.CertFile, tls.KeyFile, tls.ClientCAFile))})
		_, err := newListener(c, "proxy", slog.New(slog.DiscardHandler))
		if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a usage error with %q", err, want)
		}
		if _, err := checkFiles(c); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("checkFiles = %v, want a usage error with %q", err, want)
		}
	}
}

// An address that cannot be bound names its key.
func TestListenerFault(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, name := range []string{"proxy", "admin"} {
		args := []string{"--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--" + name + "-listen", taken.Addr().String()}
		n := &Node{config: mustLoad(t, args), log: slog.New(slog.DiscardHandler)}
		err := n.openListeners(t.Context())
		want := fmt.Sprintf("--%s-listen: %s.listen = %q: something else listens there already", name, name, taken.Addr())
		if configtest.ExitCode(err) != 2 || err.Error() != want {
			t.Errorf("%v, want the usage error %s", err, want)
		}
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}
}

// A data directory that cannot be used ends the start before a listener is bound: the
// log does not say that the node listens, and the fault is not that of the addresses.
func TestDataDirComesBeforeListeners(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, addr := range map[string]string{"free": "127.0.0.1:0", "taken": taken.Addr().String()} {
		file := configtest.File(t, "no directory")
		c := mustLoad(t, []string{"--data-dir", file, "--proxy-listen", addr, "--admin-listen", "127.0.0.1:0"})
		out := &logtest.Log{}
		n, err := Open(t.Context(), Options{Config: c, Out: out, Version: "test", Exit: func(int) {}})
		if err == nil {
			n.Abandon()
			t.Fatalf("%s: it starts", name)
		}
		var usage *config.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), "node.data_dir") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(out.String(), "listening") {
			t.Errorf("%s: it listened: %s", name, out)
		}
	}
}
