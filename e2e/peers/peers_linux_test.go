package peers

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
	"github.com/perfgate/perfgate/httpapi/apikey"
)

// startLimit is generous: the machines are shared.
const startLimit = time.Minute

//go:embed testdata
var files embed.FS

// setting is what the templates in testdata are filled with.
type setting struct {
	Dir              string // the proxy's own folder
	Listen, Upstream string // host:port
	Cert, Key, Pair  string // files, for TLS; Pair holds both
	Audit            string // perfgate's request audit
	CPUs             int
	Root             bool
}

// peer is a running proxy.
type peer struct {
	*harness.Process
	name  string
	addr  string // host:port of its listener
	pids  []int  // of all its processes
	admin string // base URL and operator token, perfgate only
	token string
}

// options of startPeer.
type options struct {
	upstream string
	secure   bool
	audit    string // "" = "all"
}

// startPeer starts the proxy of that name, one of names, and returns when it serves.
func (b *bench) startPeer(name string, o options) *peer {
	b.Helper()
	dir := b.TempDir()
	s := setting{Dir: dir, Listen: freeAddr(b), Upstream: o.upstream, Audit: o.audit, CPUs: runtime.NumCPU(), Root: os.Geteuid() == 0}
	if s.Audit == "" {
		s.Audit = "all"
	}
	if o.secure {
		s.Cert, s.Key, s.Pair = b.certificate(dir)
	}
	p := &peer{name: name, addr: s.Listen}
	p.Process = &harness.Process{T: b, Name: name, Env: harness.Environment(), Dir: dir, Data: filepath.Join(dir, "data"), LogPath: filepath.Join(dir, "log")}
	switch name {
	case "nginx":
		b.writeMap(dir, "nginx.map", "\"Bearer %s\" key%d;\n")
		p.Argv = []string{"nginx", "-c", fill(b, "nginx.conf", s), "-g", "daemon off;"}
	case "haproxy":
		b.writeMap(dir, "haproxy.map", "%s key%d\n")
		p.Argv = []string{"haproxy", "-db", "-f", fill(b, "haproxy.cfg", s)}
	default:
		binary := harness.Binary(b)
		if name == "before" {
			binary = os.Getenv(baselineVar)
		}
		p.Argv = []string{binary, "serve", "--data-dir", p.Data, "--config", fill(b, "perfgate.toml", s)}
	}
	p.Begin()
	b.Cleanup(p.stop)
	if p.Argv[1] == "serve" {
		p.register(b.keys)
	}
	harness.Await(b, startLimit, name+" to serve", func() error {
		if err := p.Ended(); err != nil {
			b.Fatalf("%v\n%s", err, p.Output())
		}
		return b.verify(p, o.secure)
	})
	p.pids = family(p.PID())
	return p
}

// stop lets nginx end its workers.
func (p *peer) stop() {
	if p.Running() {
		p.Signal(syscall.SIGTERM)
		p.Wait(startLimit)
	}
	p.Kill()
}

// verify makes sure that a proxy does its work: no comparison without it.
func (b *bench) verify(p *peer, secure bool) error {
	base := "http://" + p.addr
	if secure {
		base = "https://" + p.addr
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client := harness.NewClient(time.Second)
	defer client.CloseIdleConnections()
	r, err := harness.Call(ctx, client, "GET", base+"/1k", harness.As(b.keys[len(b.keys)-1]), nil)
	if err != nil {
		return err
	}
	if r.StatusCode != 200 || len(r.Raw) != 1<<10 || r.Header.Get("X-RateLimit-Limit") == "" {
		return fmt.Errorf("with a key: %v, %v", r, r.Header)
	}
	if r, err = harness.Call(ctx, client, "GET", base+"/1k", harness.As("pk_live_none"), nil); err == nil && r.StatusCode != 401 {
		err = fmt.Errorf("with an unknown key: %v", r)
	}
	return err
}

var addrPattern = regexp.MustCompile(`admin listening addr=(\S+)`)

// register imports keys into perfgate and gives their account limits that are not reached.
func (p *peer) register(keys []string) {
	p.T.Helper()
	harness.Await(p.T, startLimit, "perfgate to be ready", func() error {
		if err := p.Ended(); err != nil {
			p.T.Fatalf("%v\n%s", err, p.Output())
		}
		m := addrPattern.FindStringSubmatch(p.Output())
		if m == nil {
			return errors.New("it did not log its address")
		}
		p.admin = "http://" + m[1]
		r, err := p.call("GET", "/readyz", nil)
		if err == nil && r.StatusCode != 200 {
			err = errors.New(r.String())
		}
		return err
	})
	token, err := os.ReadFile(filepath.Join(p.Data, "operator.token"))
	if err != nil {
		p.T.Fatal(err)
	}
	p.token = strings.TrimSpace(string(token))
	limits := map[string]any{"requests_per_minute": 100_000_000, "requests_per_month": 1_000_000_000_000}
	p.insist("PATCH", "/v1/accounts/default", map[string]any{"tier": "enterprise", "limits": limits})
	var lines strings.Builder
	for i, key := range keys {
		fmt.Fprintf(&lines, "{\"name\":\"key%d\",\"type\":\"live\",\"key\":%q}\n", i, key)
	}
	if r := p.insist("POST", "/v1/keys/import", lines.String()); bytes.Contains(r.Raw, []byte(`"error":"`)) {
		p.T.Fatalf("import: %v", r)
	}
}

func (p *peer) call(method, path string, body any) (*harness.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := harness.NewClient(time.Second)
	defer client.CloseIdleConnections()
	return harness.Call(ctx, client, method, p.admin+path, harness.As(p.token), body)
}

func (p *peer) insist(method, path string, body any) *harness.Reply {
	p.T.Helper()
	r, err := p.call(method, path, body)
	if err != nil || r.StatusCode != 200 {
		p.T.Fatalf("%s %s: %v, %v", method, path, r, err)
	}
	return r
}

// fill writes a file of testdata with the settings in it and returns its path.
func fill(t testing.TB, name string, s setting) string {
	t.Helper()
	tpl, err := template.ParseFS(files, "testdata/"+name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tpl.Execute(&out, s); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeMap writes the keys as the lines of a map.
func (b *bench) writeMap(dir, name, line string) {
	b.Helper()
	var out strings.Builder
	for i, key := range b.keys {
		fmt.Fprintf(&out, line, key, i)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(out.String()), 0o600); err != nil {
		b.Fatal(err)
	}
}

func newKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = apikey.New(apikey.LivePrefix)
	}
	return keys
}

// freeAddr returns a loopback address whose port was free a moment ago.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
