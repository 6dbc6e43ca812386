package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/pflag"
)

// The environment variables of a client, and where a node on this machine keeps
// what its clients need.
const (
	serverEnv  = "PERFGATE_SERVER"
	tokenEnv   = "PERFGATE_TOKEN"
	dataDirEnv = "PERFGATE_DATA_DIR"
	adminEnv   = "PERFGATE_ADMIN_LISTEN" // of a node in the same environment, as in its container

	defaultServer  = "http://127.0.0.1:8081"
	defaultDataDir = "perfgate-data"
	tokenFile      = "operator.token"
	certFile       = "admin.crt" // of the self-signed admin listener

	maxSmallFile = 1 << 20 // bytes of a token, certificate or secret
)

// app is one run of the command line: its surroundings and the global flags.
type app struct {
	Config
	server   string
	token    string
	account  string
	caFile   string
	dataDir  string
	insecure bool
	json     bool
}

func (a *app) flags(fs *pflag.FlagSet) {
	fs.StringVar(&a.server, "server", "", "URL of the admin API ("+serverEnv+"; default "+defaultServer+")")
	fs.StringVar(&a.token, "token", "", "operator token or admin key; others on this machine see it, so prefer "+tokenEnv)
	fs.StringVar(&a.account, "account", "", "account that the call is about (default \"default\")")
	fs.StringVar(&a.caFile, "ca-file", "", "PEM file of the authority, or self-signed certificate, of the server")
	fs.StringVar(&a.dataDir, "data-dir", "", "data directory of a node on this machine, for its operator token ("+dataDirEnv+"; default ./"+defaultDataDir+")")
	fs.BoolVar(&a.insecure, "insecure-skip-verify", false, "take any certificate of the server")
	fs.BoolVar(&a.json, "json", false, "print the API's JSON")
}

func (a *app) env(name string) string {
	v, _ := a.Env(name)
	return v
}

// first is the first of values that says something.
func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func (a *app) dataPath(name string) string {
	return filepath.Join(first(a.dataDir, a.env(dataDirEnv), defaultDataDir), name)
}

// base is the server's URL. Unless it is given, it is the node on this machine,
// which speaks TLS if its admin listener made a certificate for itself.
func (a *app) base() (*url.URL, error) {
	text := first(a.server, a.env(serverEnv))
	if text == "" {
		text = a.localServer()
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return nil, usagef("--server %q: want a URL such as %s", text, defaultServer)
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
	// The certificate may be a left-over of a time when the listener was another.
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // nothing is sent; the real connection verifies
	})
	if err != nil {
		return "http://" + address
	}
	conn.Close()
	return "https://" + address
}

// onLoopback tells whether u is this machine, whose data directory is at hand.
func onLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// credential is the token to send to u. A node's own token is sent to this
// machine alone.
func (a *app) credential(u *url.URL) (string, error) {
	if t := first(a.token, a.env(tokenEnv)); t != "" {
		return strings.TrimSpace(t), nil
	}
	path := a.dataPath(tokenFile)
	if onLoopback(u) {
		raw, err := readFile(path)
		if err == nil {
			return strings.TrimSpace(string(raw)), nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("read the operator token: %w", err)
		}
	}
	return "", fmt.Errorf("no token: set %s, or run this where %s is", tokenEnv, path)
}

// transport makes connections to u. The certificate that a node on this machine
// made for itself is believed without being told.
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
		return nil, fmt.Errorf("read the server's authority: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil || a.caFile != "" {
		pool = x509.NewCertPool() // who names an authority means that one
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("read the server's authority: there is no certificate in %q", path)
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmallFile))
}

// input opens a file that a command reads, "-" being stdin; size is -1 if it is
// not known.
func (a *app) input(path string) (r io.ReadCloser, size int64, err error) {
	if path == "-" {
		return io.NopCloser(a.Stdin), -1, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

// terminal tells whether f is one.
func terminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// progress shows how far something has come, in bytes of size (-1: unknown), if
// stderr is a terminal. The result counts what is written to it.
func (a *app) progress(what string, size int64) io.WriteCloser {
	if !terminal(a.Stderr) {
		return nopBar{}
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(a.Stderr),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

type nopBar struct{}

func (nopBar) Write(b []byte) (int, error) { return len(b), nil }
func (nopBar) Close() error                { return nil }
