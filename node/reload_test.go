package node

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
)

// reloading is a configuration file with a part that takes its routes, or refuses them
// with refuse.
type reloading struct {
	t      *testing.T
	path   string
	log    bytes.Buffer
	level  slog.LevelVar
	routes []config.Route
	refuse error
	r      *Reloader
}

func startReloading(t *testing.T) *reloading {
	t.Helper()
	l := &reloading{t: t, path: configtest.File(t, "[log]\nlevel = \"warn\"")}
	load := func() (*config.Config, error) { return Load([]string{"--config", l.path}, configtest.Environ()) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	logger, _ := NewLogger(&l.log, config.Log{Level: "info", Format: "text"})
	l.r = NewReloader(c, load, logger, LogLevel(&l.level), func(next *config.Config) (func(), error) {
		return func() { l.routes = next.Proxy.Routes }, l.refuse
	})
	return l
}

// step replaces the file and reloads it; the log begins again.
func (l *reloading) step(text string) error {
	l.t.Helper()
	l.log.Reset()
	if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return l.r.Reload()
}

// oneRoute is a file with one route, to which more can be added.
const oneRoute = "[[proxy.routes]]\npath = \"/one\"\nupstreams = [\"http://a\"]\n"

// routed is a file with one route that has been loaded, at level debug.
func routed(t *testing.T) *reloading {
	t.Helper()
	l := startReloading(t)
	if err := l.step(oneRoute + "[log]\nlevel = \"debug\""); err != nil {
		t.Fatal(err)
	}
	l.unchanged()
	return l
}

// unchanged reports routes and a level that are not those of routed.
func (l *reloading) unchanged() {
	l.t.Helper()
	if len(l.routes) != 1 || l.level.Level() != slog.LevelDebug || l.r.current.Log.Level != "debug" {
		l.t.Errorf("routes %v, level %v, in use %s", l.routes, l.level.Level(), l.r.current.Log.Level)
	}
}

func TestReload(t *testing.T) {
	l := routed(t)
	if strings.Contains(l.log.String(), "restart") || !strings.Contains(l.log.String(), "proxy.routes") {
		t.Errorf("the log says %s", l.log.String())
	}
}

// A bad file changes nothing, nor does a part that refuses, nor a file that would take
// every route away.
func TestReloadChangesAllOrNothing(t *testing.T) {
	l := routed(t)
	if err := l.step("[log]\nlevel = \"info\"\n[proxy]\nroute = 1"); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a bad file: %v", err)
	}
	l.unchanged()
	l.refuse = errors.New("no such upstream")
	if err := l.step(oneRoute + "[log]\nlevel = \"info\""); !errors.Is(err, l.refuse) {
		t.Errorf("a part that refuses: %v", err)
	}
	l.unchanged()
	l.refuse = nil
	for _, text := range []string{"", "# nothing", "[log]\nlevel = \"info\""} {
		if err := l.step(text); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "must have proxy.upstream or [[proxy.routes]]") {
			t.Errorf("%q took the routes away: %v", text, err)
		}
		l.unchanged()
	}
}

// Keys that need a restart are logged on each reload, until they have their old value.
func TestReloadNamesKeysThatNeedARestart(t *testing.T) {
	l := routed(t)
	for range 2 {
		if err := l.step(oneRoute + "[proxy]\nlisten = \":9\""); err != nil || !strings.Contains(l.log.String(), "restart key=proxy.listen") {
			t.Errorf("%v: %s", err, l.log.String())
		}
	}
	if err := l.step(oneRoute); err != nil || strings.Contains(l.log.String(), "key=proxy.listen") {
		t.Errorf("%v: %s", err, l.log.String())
	}
}

func TestReloadCertificates(t *testing.T) {
	var log bytes.Buffer
	a, b := pair(t, "a"), pair(t, "b")
	text := func(p config.TLS) string {
		return "[proxy.tls]\ncert_file = \"" + p.CertFile + "\"\nkey_file = \"" + p.KeyFile + "\"\nmin_version = \"" + p.MinVersion + "\""
	}
	path := configtest.File(t, text(a))
	load := func() (*config.Config, error) { return Load([]string{"--config", path}, configtest.Environ()) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	logger, _ := NewLogger(&log, config.Log{Level: "info", Format: "text"})
	l, err := newListener(c, "proxy", logger)
	if err != nil {
		t.Fatal(err)
	}
	certs := l.certs
	r := NewReloader(c, load, logger, l.prepareCertificate)
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
	if err := reload(text(bad)); configtest.ExitCode(err) != 2 || certs.Leaf().DNSNames[0] != "b" {
		t.Errorf("a pair that does not match: %v", err)
	}
	if err := reload(""); err != nil || !strings.Contains(log.String(), "restart key=proxy.tls.cert_file") {
		t.Errorf("TLS taken away: %v: %s", err, log.String())
	}
}

// A reload refuses the files that a start refuses, also where they would take effect
// only after the restart.
func TestReloadChecksFiles(t *testing.T) {
	path := configtest.File(t, "[proxy]\nupstream = \"http://a\"")
	load := func() (*config.Config, error) { return Load([]string{"--config", path}, configtest.Environ()) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	r := NewReloader(c, load, slog.New(slog.DiscardHandler), func(*config.Config) (func(), error) { return func() { changed = true }, nil })
	old := dated(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	for text, want := range map[string]string{
		"[proxy.tls]\ncert_file = \"/nonexistent\"\nkey_file = \"/nonexistent\"":                          `proxy.tls.cert_file = "/nonexistent": no such file`,
		"[admin.tls]\ncert_file = \"/nonexistent\"\nkey_file = \"/nonexistent\"":                          `admin.tls.cert_file = "/nonexistent": no such file`,
		"[proxy.tls]\ncert_file = \"/nonexistent\"":                                                       "proxy.tls.key_file is missing",
		"[signin.oidc]\nissuer = \"https://x\"\nclient_id = \"a\"\nclient_secret_file = \"/nonexistent\"": "signin.oidc.client_secret_file",
		"[cluster]\nlisten = \":7946\"\nsecret_file = \"/nonexistent\"":                                   "cluster.secret_file",
		"[node]\ndata_dir = \"" + path + "\"":                                                             "must be a directory",
		"[proxy.tls]\ncert_file = \"" + path + "\"\nkey_file = \"" + old.KeyFile + "\"":                   "proxy.tls.cert_file",
		"[cluster]\nlease = \"1h\"":                                                                       "cluster.lease",
		"[[proxy.routes]]\npath = \"/x\"\nupstreams = [\"http://b\"]\nmax_body = \"5\"":                   "max_body",
	} {
		if err := os.WriteFile(path, []byte("[proxy]\nupstream = \"http://b\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Reload(); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was changed") || changed {
			t.Errorf("%q is reloaded with %v, want %s", text, err, want)
		}
	}
	// One that has ended meanwhile blocks no other change.
	if err := os.WriteFile(path, []byte("[proxy]\nupstream = \"http://b\"\n"+tlsTable(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(); err != nil || !changed {
		t.Error(err)
	}
}

// A reload replaces the table of the proxy's settings and nothing else.
func TestReloadKeepsWhatTheGateReads(t *testing.T) {
	started := mustLoad(t, []string{"--trusted-proxies", "10.0.0.1"}, "PERFGATE_PROXY_KEY_HEADER=X-A", "PERFGATE_PROXY_CLIENT_IP_HEADER=X-B", "PERFGATE_GEOIP_HEADER=X-E")
	next := proxy.Settings{Table: new(proxy.Table), KeyHeader: "X-C", ClientIPHeader: "X-D"}
	got := untilRestart(next, started)
	if got.Table != next.Table || got.KeyHeader != "X-A" || got.ClientIPHeader != "X-B" || len(got.Trusted) != 1 || reflect.TypeOf(got).NumField() != 5 || got.CountryHeader != "X-E" {
		t.Errorf("%+v", got)
	}
}
