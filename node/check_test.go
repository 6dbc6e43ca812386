package node

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
)

// check runs check-config.
func check(t *testing.T, args []string, env ...string) (out, warned string, err error) {
	t.Helper()
	fs := CheckFlags()
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	var o, w bytes.Buffer
	k := Check{Flags: fs, Env: configtest.Environ(env...), Environ: env, Out: &o, Err: &w}
	err = k.Run(t.Context())
	return o.String(), w.String(), err
}

// dated makes a certificate that is valid for the time.
func dated(t *testing.T, from, to time.Time) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"x"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := config.TLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), MinVersion: "1.3"}
	for path, block := range map[string]*pem.Block{c.CertFile: {Type: "CERTIFICATE", Bytes: der}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func tlsTable(c config.TLS) string {
	return fmt.Sprintf("[proxy.tls]\ncert_file = %q\nkey_file = %q\n", c.CertFile, c.KeyFile)
}

// Values, routes, files and dates are checked in one run.
func TestCheckConfigFindsAll(t *testing.T) {
	old := dated(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	path := configtest.File(t, tlsTable(old)+`[admin]
listen = ":8080"
[[proxy.routes]]
path = "/v1/*"
upstreams = ["http://h:99999"]
strip_prefix = 5
[[proxy.routes]]
path = "/v1/x"
upstreams = "http://h"
strip_prefix = "/v2"
max_body = "64"
`)
	out, _, err := check(t, []string{"--config", path, "--data-dir", path}, "PERFGATE_DRAIN=1s")
	if configtest.ExitCode(err) != 2 || out != "" {
		t.Fatalf("%v, prints %q", err, out)
	}
	for _, want := range []string{
		`line 2: proxy.tls.cert_file = "` + old.CertFile + `": the certificate is not valid now: it expired at`,
		`line 5: admin.listen = ":8080": must differ from proxy.listen`,
		`line 7: proxy.routes[0].path = "/v1/*": "*" is no wildcard here: a path such as "/v1/" takes everything below it`,
		`line 8: proxy.routes[0].upstreams[0] = "http://h:99999": must have a port from 1 to 65535`,
		`line 9: proxy.routes[0].strip_prefix = 5: must be a string in quotes`,
		`line 12: proxy.routes[1].upstreams = "http://h": must be a list`,
		`line 13: proxy.routes[1].strip_prefix = "/v2": no path of this route begins with it`,
		`line 14: proxy.routes[1].max_body = "64": must be a size such as "64MiB", with its unit`,
		`--data-dir: node.data_dir = "` + path + `"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error\n%v\nlacks %s", err, want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 9 {
		t.Errorf("%d faults:\n%v", n, err)
	}
}

// Warnings are apart from errors and do not change the exit code.
func TestCheckConfigWarns(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		args       []string
		want       []string
		not        string
	}{
		{"trusted", "", []string{"--trusted-proxies", "0.0.0.0/0"}, []string{`warning: --trusted-proxies: proxy.trusted_proxies[0] = "0.0.0.0/0": trusts everybody`}, ""},
		{"itself", "", []string{"--upstream", "http://127.0.0.1:8080"}, []string{`warning: --upstream: proxy.upstream = "http://127.0.0.1:8080": this is proxy.listen of this node itself: requests would go round in circles`}, ""},
		{"itself by name", "", []string{"--upstream", "http://localhost:8080/x"}, []string{"requests would go round"}, ""},
		{"itself by the scheme's port", "", []string{"--upstream", "http://[::1]", "--proxy-listen", ":80"}, []string{"requests would go round"}, ""},
		{"itself by the very name", "", []string{"--upstream", "http://gate.example:8080", "--proxy-listen", "gate.example:8080"}, []string{"requests would go round"}, ""},
		{"its admin listener", "[[proxy.routes]]\npath = \"/a\"\nupstreams = [\"http://b\", \"http://127.0.0.1:8081\"]", nil,
			[]string{`line 3: proxy.routes[0].upstreams[1] = "http://127.0.0.1:8081": this is admin.listen of this node itself: clients of the proxy would reach the management API`}, ""},
		{"another port", "", []string{"--upstream", "http://127.0.0.1:9000"}, nil, "warning"},
		{"another host", "", []string{"--upstream", "http://192.0.2.1:8080"}, nil, "warning"},
		{"another address of this machine", "", []string{"--upstream", "http://127.0.0.1:8080", "--proxy-listen", "192.0.2.1:8080"}, nil, "warning"},
		{"own paths", "[[proxy.routes]]\npath = \"/v1/\"\nupstreams = [\"http://b\"]", nil, []string{"warning: perfgate answers these calls", "GET /v1/keys, ", "POST /v1/keys/{id}/rotate"}, "/livez"},
		{"own paths that are free", "[proxy]\nself_service = false\n[[proxy.routes]]\npath = \"/v1/\"\nupstreams = [\"http://b\"]", nil, nil, "perfgate answers"},
		{"own paths of a method", "[[proxy.routes]]\npath = \"POST /v1/keys\"\nupstreams = [\"http://b\"]", nil, []string{"itself, although a route covers them; proxy.self_service = false gives all but the pages to the routes: POST /v1/keys\n"}, ""},
		{"own paths of a catch-all", "", []string{"--upstream", "http://b"}, []string{"note: perfgate answers these calls", "GET /livez"}, "warning"},
		{"own paths of a catch-all in another spelling", "[[proxy.routes]]\npath = \"/{r...}\"\nupstreams = [\"http://b\"]", nil, []string{"note: perfgate answers these calls"}, "warning"},
		{"a method twice", "[[proxy.routes]]\npath = \"/a\"\nmethods = [\"GET\"]\nupstreams = [\"http://b\"]\n[[proxy.routes]]\npath = \"/a/\"\nmethods = [\"PUT\", \"GET\"]\nupstreams = [\"http://c\"]", nil,
			[]string{`line 7: proxy.routes[1].methods = "GET, PUT": GET of this host and path goes to proxy.routes[0], which stands first; list each method in one of them`}, ""},
		{"demo", "", nil, nil, "perfgate answers"},
		{"ends soon", tlsTable(dated(t, time.Now().Add(-time.Hour), time.Now().Add(13*24*time.Hour))), nil, []string{"proxy.tls.cert_file", "the certificate ends soon, at "}, ""},
		{"ends later", tlsTable(dated(t, time.Now().Add(-time.Hour), time.Now().Add(15*24*time.Hour))), nil, nil, "warning"},
	} {
		args := append([]string{"--data-dir", filepath.Join(t.TempDir(), "data")}, tt.args...)
		if tt.file != "" {
			args = append(args, "--config", configtest.File(t, tt.file))
		}
		out, warned, err := check(t, args)
		if err != nil || out != "ok\n" {
			t.Errorf("%s: %v, prints %q", tt.name, err, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(warned, want) {
				t.Errorf("%s: warns\n%swithout %q", tt.name, warned, want)
			}
		}
		if tt.not != "" && strings.Contains(warned, tt.not) {
			t.Errorf("%s: warns\n%s", tt.name, warned)
		}
	}
	if _, warned, err := check(t, []string{"--data-dir", filepath.Join(t.TempDir(), "data")}, "PERFGATE_PROXY_LISTN=:1"); err != nil || !strings.Contains(warned, "warning: PERFGATE_PROXY_LISTN: this variable has no effect") {
		t.Errorf("%v, warns %q", err, warned)
	}
	// An error hides no warning.
	if _, warned, err := check(t, []string{"--trusted-proxies", "::/0", "--expect", "0"}); configtest.ExitCode(err) != 2 || !strings.Contains(warned, "trusts everybody") {
		t.Errorf("%v, warns %q", err, warned)
	}
}

// A certificate for later is no better than one of the past.
func TestCheckConfigEarlyCertificate(t *testing.T) {
	early := dated(t, time.Now().Add(time.Hour), time.Now().Add(48*time.Hour))
	if _, _, err := check(t, []string{"--config", configtest.File(t, tlsTable(early)), "--data-dir", t.TempDir()}); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "it is valid from") {
		t.Error(err)
	}
}

// With --probe, upstreams are connected to; one that is down is no fault of the
// configuration.
func TestCheckConfigProbes(t *testing.T) {
	up := httptest.NewServer(http.NotFoundHandler())
	defer up.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // of an authority that nobody knows
	defer secure.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "http://" + ln.Addr().String()
	ln.Close()
	routes := fmt.Sprintf("[[proxy.routes]]\npath = \"/a\"\nupstreams = [%q, %q, %q]\n", up.URL, down, secure.URL)
	args := []string{"--config", configtest.File(t, routes), "--data-dir", t.TempDir()}
	if out, _, err := check(t, args); err != nil || out != "ok\n" {
		t.Errorf("without --probe: %v, prints %q", err, out)
	}
	out, _, err := check(t, append(args, "--probe"))
	if configtest.ExitCode(err) != 1 || out != "" || strings.Contains(err.Error(), "upstreams[0]") ||
		!strings.Contains(err.Error(), `line 3: proxy.routes[0].upstreams[1] = "`+down+`": connect: `) || !strings.Contains(err.Error(), "upstreams[2]") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v, prints %q", err, out)
	}
	if out, _, err := check(t, []string{"--upstream", up.URL, "--data-dir", t.TempDir(), "--probe"}); err != nil || out != "ok\n" {
		t.Errorf("%v, prints %q", err, out)
	}
}

// A probe trusts the authorities of the route, and shows its certificate. One that the
// upstream does not accept is found, although the handshake is over by then.
func TestCheckConfigProbesWithItsIdentity(t *testing.T) {
	ours, others := dated(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)), dated(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	cert, err := tls.LoadX509KeyPair(ours.CertFile, ours.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	up := httptest.NewUnstartedServer(http.NotFoundHandler())
	up.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	up.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	up.TLS.ClientCAs.AddCert(cert.Leaf)
	up.StartTLS()
	defer up.Close()
	for name, tt := range map[string]struct {
		ca   string
		pair config.TLS
		want string
	}{
		"ours":               {ours.CertFile, ours, ""},
		"another authority":  {others.CertFile, ours, "certificate signed by unknown authority"},
		"no certificate":     {ours.CertFile, config.TLS{}, "certificate required"},
		"another identity":   {ours.CertFile, others, "remote error: tls: "},
		"a file that is not": {"/none", ours, "no such file"},
	} {
		routes := fmt.Sprintf("[[proxy.routes]]\npath = \"/a\"\nupstreams = [%q]\nupstream_tls = { ca_file = %q, cert_file = %q, key_file = %q, server_name = \"x\" }\n", up.URL, tt.ca, tt.pair.CertFile, tt.pair.KeyFile)
		out, _, err := check(t, []string{"--config", configtest.File(t, routes), "--data-dir", t.TempDir(), "--probe"})
		if tt.want == "" && (err != nil || out != "ok\n") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, prints %q", name, err, out)
		}
	}
}

// A start logs the warnings of check-config.
func TestStartWarns(t *testing.T) {
	var log bytes.Buffer
	logger, _ := NewLogger(&log, config.Log{Level: "info", Format: "text"})
	n := &Node{log: logger, options: Options{Environ: []string{"PERFGATE_NAM=x"}}}
	n.warn(mustLoad(t, []string{"--upstream", "http://127.0.0.1:8080", "--trusted-proxies", "0.0.0.0/0"}))
	for _, want := range []string{"WARN", "PERFGATE_NAM: this variable has no effect", "requests would go round", "trusts everybody", "perfgate answers these calls on the proxy listener itself", "calls=", "GET /v1/keys"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log\n%slacks %q", log.String(), want)
		}
	}
}
