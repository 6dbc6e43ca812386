package node

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/proxy"
)

func TestReload(t *testing.T) {
	var log bytes.Buffer
	path := write(t, "[log]\nlevel = \"warn\"")
	load := func() (*Config, error) { return Load([]string{"--config", path}, environ()) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	logger, _ := NewLogger(&log, LogConfig{Level: "info", Format: "text"})
	level := new(slog.LevelVar)
	var routes []proxy.Route
	var refuse error
	r := NewReloader(c, load, logger, LogLevel(level), func(next *Config) (func(), error) {
		return func() { routes = next.Proxy.Routes }, refuse
	})
	step := func(text string) error {
		t.Helper()
		log.Reset()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return r.Reload()
	}
	const one = "[[proxy.routes]]\npath = \"/one\"\nupstreams = [\"http://a\"]\n"

	if err := step(one + "[log]\nlevel = \"debug\""); err != nil {
		t.Fatal(err)
	}
	if len(routes) != 1 || level.Level() != slog.LevelDebug {
		t.Errorf("routes %v, level %v", routes, level)
	}
	if strings.Contains(log.String(), "restart") || !strings.Contains(log.String(), "proxy.routes") {
		t.Errorf("the log says %s", log.String())
	}

	// A bad file changes nothing, nor does a part that refuses.
	if err := step("[log]\nlevel = \"info\"\n[proxy]\nroute = 1"); exitCode(err) != 2 || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a bad file: %v", err)
	}
	refuse = errors.New("no such upstream")
	if err := step("[log]\nlevel = \"info\""); !errors.Is(err, refuse) {
		t.Errorf("a part that refuses: %v", err)
	}
	if len(routes) != 1 || level.Level() != slog.LevelDebug || r.current.Log.Level != "debug" {
		t.Errorf("routes %v, level %v", routes, level)
	}

	// Keys that need a restart are told, each time, until they are back.
	refuse = nil
	for range 2 {
		if err := step("[proxy]\nlisten = \":9\""); err != nil || !strings.Contains(log.String(), "restart key=proxy.listen") {
			t.Errorf("%v: %s", err, log.String())
		}
	}
	if err := step(""); err != nil || strings.Contains(log.String(), "key=proxy.listen") {
		t.Errorf("%v: %s", err, log.String())
	}
}

func TestReloadCertificates(t *testing.T) {
	var log bytes.Buffer
	now := time.Now()
	a, b := pair(t, t.TempDir(), now, "a"), pair(t, t.TempDir(), now, "b")
	text := func(p TLSConfig) string {
		return "[proxy.tls]\ncert_file = \"" + p.CertFile + "\"\nkey_file = \"" + p.KeyFile + "\"\nmin_version = \"" + p.MinVersion + "\""
	}
	path := write(t, text(a))
	load := func() (*Config, error) { return Load([]string{"--config", path}, environ()) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	logger, _ := NewLogger(&log, LogConfig{Level: "info", Format: "text"})
	certs, err := OpenCertificates(c, "proxy", logger)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReloader(c, load, logger, certs.Prepare)
	reload := func(text string) error {
		t.Helper()
		log.Reset()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return r.Reload()
	}
	if err := reload(text(b)); err != nil || certs.Leaf().DNSNames[0] != "b" {
		t.Errorf("%v, %v", err, certs.Leaf().DNSNames)
	}
	certs.poll()
	if certs.Leaf().DNSNames[0] != "b" {
		t.Error("the old files are followed after a reload")
	}
	lower := a
	lower.MinVersion = "1.2"
	if err := reload(text(lower)); err != nil || certs.Config().MinVersion != tls.VersionTLS13 || !strings.Contains(log.String(), "restart key=proxy.tls.min_version") {
		t.Errorf("the floor moved without the restart that the log asks for: %v: %s", err, log.String())
	}
	if err := reload(text(b)); err != nil {
		t.Error(err)
	}
	bad := b
	bad.KeyFile = a.KeyFile
	if err := reload(text(bad)); exitCode(err) != 2 || certs.Leaf().DNSNames[0] != "b" {
		t.Errorf("a pair that does not match: %v", err)
	}
	if err := reload(""); err != nil || !strings.Contains(log.String(), "restart key=proxy.tls.cert_file") {
		t.Errorf("TLS taken away: %v: %s", err, log.String())
	}
}
