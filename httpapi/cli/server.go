package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The server that commands call by default, and the files in its data directory
// that its clients on the same machine read.
const (
	defaultServer  = "http://127.0.0.1:8081"
	defaultDataDir = "perfgate-data"
	tokenFile      = "operator.token"
	certFile       = "admin.crt" // of the self-signed admin listener
)

// dataPath returns the path of a file in the local node's data directory.
func (a *app) dataPath(name string) string {
	return filepath.Join(first(a.dataDir, a.env(dataDirEnv), defaultDataDir), name)
}

// base returns the server's URL. The default is the node on this machine, which
// uses TLS if its admin listener created a certificate for itself.
func (a *app) base() (*url.URL, error) {
	text := first(a.server, a.env(serverEnv))
	if text == "" {
		text = a.localServer()
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, usagef("--server %q: must be a URL such as %s", text, defaultServer)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func (a *app) localServer() string {
	address := strings.TrimPrefix(defaultServer, "http://")
	if host, port, err := net.SplitHostPort(a.env(adminEnv)); err == nil && port != "0" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		address = net.JoinHostPort(host, port)
	}
	if _, err := os.Stat(a.dataPath(certFile)); err != nil && a.env(adminEnv) == "" {
		return "http://" + address
	}
	// The certificate may be left over from an earlier configuration of the
	// listener, so that a handshake has to decide.
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // nothing is sent; the real connection verifies
	})
	if err != nil {
		return "http://" + address
	}
	conn.Close()
	return "https://" + address
}

// onLoopback reports whether u is on this machine, where its data directory can
// be read.
func onLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// credential returns the token to send to u. The token of the local node is sent
// to this machine only.
func (a *app) credential(u *url.URL) (string, error) {
	if t := first(a.token, a.env(tokenEnv)); t != "" {
		return strings.TrimSpace(t), nil
	}
	path := a.dataPath(tokenFile)
	if !onLoopback(u) {
		return "", fmt.Errorf("no token: set %s; the local node's token is not sent to another machine", tokenEnv)
	}
	raw, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("no token: set %s, or name the node's data directory with --data-dir (there is no %s)", tokenEnv, path)
	}
	if err != nil {
		return "", fmt.Errorf("read operator token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// transport returns a transport for connections to u. The certificate that the
// local node created for itself is trusted by default.
func (a *app) transport(u *url.URL) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: a.insecure},
		ForceAttemptHTTP2:     true,
	}
	path, own := a.caFile, false
	if path == "" && onLoopback(u) {
		path, own = a.dataPath(certFile), true
	}
	if path == "" || u.Scheme != "https" {
		return t, nil
	}
	raw, err := readFile(path)
	if own && errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil || a.caFile != "" {
		pool = x509.NewCertPool() // --ca-file replaces the system's authorities
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("read CA certificate: %q contains no PEM certificate", path)
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}
