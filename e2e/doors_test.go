package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// nginx asks before it forwards, with the configuration of docs/doors.md as it stands there.
func TestNginxAsks(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skipf("%v; on Debian: apt-get install nginx", err)
	}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q %q %q", r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("X-Perf-Key-Id"), r.Header.Get("X-Perf-Scopes"))
	}))
	defer up.Close()
	s := start(t, options{config: `
[doors]
forward_auth_from = ["127.0.0.1/32"]

[[proxy.routes]]
path = "/files/"
upstreams = ["http://127.0.0.1:9"]

[[proxy.routes]]
path = "/open"
upstreams = ["http://127.0.0.1:9"]
public = true
`})
	base := startNginx(t, s.proxy, up.URL)
	key, id := s.create(map[string]any{"scopes": []string{"read"}, "limits": map[string]any{"requests_per_minute": 3}})
	get := func(method, path, credential string) *reply {
		return do(t, method, base+path, as(credential, header{"X-Perf-Scopes": "admin", "X-Forwarded-Uri": "/open", "X-Original-URI": "/open", "X-Forwarded-Method": "GET"}), nil)
	}
	for _, c := range []struct {
		name, method, path, key string
		status                  int
	}{
		{"admitted", "GET", "/files/a?b=c", key, 200},
		{"no key", "GET", "/files/a", "", 401},
		{"another's key", "GET", "/files/a", "pk_live_x", 401},
		{"a scope", "DELETE", "/files/a", key, 403},
		{"no route", "GET", "/other", key, 404},
		{"a public route", "GET", "/open", "", 200},
		{"the second", "HEAD", "/files/a", key, 200},
		{"the third", "GET", "/files/a", key, 200},
		{"one too many", "GET", "/files/a", key, 429},
	} {
		r := get(c.method, c.path, c.key)
		if r.StatusCode != c.status {
			t.Errorf("%s: %s, want %d\n%s", c.name, r.Status, c.status, r.Raw)
		}
		if c.name == "admitted" && string(r.Raw) != fmt.Sprintf("/files/a %q %q %q", "", id, "") {
			t.Errorf("the upstream got %s", r.Raw)
		}
		if c.status == 429 && r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %v", c.name, r.Header)
		}
	}
}

// startNginx runs nginx with the blocks of docs/doors.md in front of the upstream.
func startNginx(t *testing.T, perfgate, upstream string) (base string) {
	t.Helper()
	page, err := os.ReadFile("../docs/doors.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/doors.md has no block of nginx")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	locations := strings.NewReplacer("http://127.0.0.1:8080", perfgate, "http://127.0.0.1:9000", upstream).Replace(string(block[1]))
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("pid %[1]s/pid;\nerror_log %[1]s/error.log;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path %[1]s/body;\nproxy_temp_path %[1]s/proxy;\nfastcgi_temp_path %[1]s/f;\nuwsgi_temp_path %[1]s/u;\nscgi_temp_path %[1]s/s;\nserver {\nlisten %[2]s;\n%[3]s}\n}\n", dir, addr, locations)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &harness.Process{T: t, Name: "nginx", Env: harness.Environment(), Dir: dir, Data: dir, LogPath: filepath.Join(dir, "log"), Argv: []string{"nginx", "-c", conf, "-g", "daemon off;"}}
	p.Begin()
	t.Cleanup(func() {
		if p.Running() {
			p.Signal(syscall.SIGTERM) // so that it ends its workers
			p.Wait(20 * time.Second)
		}
		p.Kill()
	})
	harness.Await(t, 30*time.Second, "nginx to serve", func() error {
		if err := p.Ended(); err != nil {
			t.Fatalf("%v\n%s", err, p.Output())
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return "http://" + addr
}
