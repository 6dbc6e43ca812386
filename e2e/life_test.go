package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
)

// No acknowledged write is lost, and the node always starts again.
func TestKillUnderWrites(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up, args: []string{"--trusted-proxies", "127.0.0.1/32"}})
	s.roomy()
	rounds := 4
	if os.Getenv("PERFGATE_TORTURE") != "" {
		rounds = 100
	}
	w := &acknowledged{s: s, states: map[string]string{}, revoked: map[string]bool{}}
	for round := range rounds {
		goal := w.count() + 100
		var all sync.WaitGroup
		for range 8 {
			all.Go(w.write)
		}
		waitFor(t, "100 writes", func() bool { return w.count() >= goal })
		s.Kill()
		all.Wait()
		s.run()
		w.check(t, round)
	}
	t.Logf("%d acknowledged keys over %d kills", len(w.states), rounds)
}

// acknowledged are the answers to writes.
type acknowledged struct {
	s *server

	mu      sync.Mutex
	made    int
	states  map[string]string // by id
	revoked map[string]bool   // keys
}

func (w *acknowledged) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made
}

// write makes keys and revokes every fourth, until the process is gone.
func (w *acknowledged) write() {
	for {
		r, err := try("POST", w.s.admin+"/v1/keys", as(w.s.operator), map[string]any{"name": "k", "type": "live"})
		if err != nil || r.StatusCode != 201 {
			return // nothing was acknowledged
		}
		id, key := r.Str("id"), r.Str("key")
		w.mu.Lock()
		w.states[id] = "active"
		w.made++
		revoke := w.made%4 == 0
		w.mu.Unlock()
		if !revoke {
			continue
		}
		r, err = try("POST", w.s.admin+"/v1/keys/"+id+"/revoke", as(w.s.operator), map[string]any{})
		w.mu.Lock()
		if err != nil || r.StatusCode != 200 {
			delete(w.states, id) // either state is right
			w.mu.Unlock()
			return
		}
		w.states[id], w.revoked[key] = "revoked", true
		w.mu.Unlock()
	}
}

// check asks for everything that was acknowledged.
func (w *acknowledged) check(t *testing.T, round int) {
	t.Helper()
	for id, state := range w.states {
		r := do(t, "GET", w.s.admin+"/v1/keys/"+id, as(w.s.operator), nil)
		if r.Str("state") != state {
			t.Fatalf("round %d: acknowledged key %s is %q after the kill, want %q: %s", round, id, r.Str("state"), state, r.Raw)
		}
	}
	checked := 0
	for key := range w.revoked {
		// One address each: failures are limited by address.
		from := header{"X-Forwarded-For": fmt.Sprintf("10.%d.%d.%d", round, checked/250, checked%250)}
		checked++
		if r := do(t, "GET", w.s.proxy+"/", as(key, from), nil); r.Code() != "key_revoked" {
			t.Fatalf("round %d: a revoked key answers %s", round, r.Status)
		}
	}
}

func TestSecondInstanceIsRefused(t *testing.T) {
	s := start(t, options{})
	_, stderr, code := perfgate(t, nil, "", "serve", "--data-dir", s.Data, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if code == 0 || !strings.Contains(stderr, s.Data) || !strings.Contains(stderr, "in use") {
		t.Errorf("exit %d, stderr:\n%s", code, stderr)
	}
	if r := do(t, "GET", s.proxy+"/readyz", nil, nil); r.StatusCode != 200 {
		t.Errorf("the first instance suffered: %s", r.Status)
	}
}

// SIGTERM: unready first, requests in flight end well, exit 0.
func TestDrain(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-release
		io.WriteString(w, "done")
	}))
	defer up.Close()
	s := start(t, options{upstream: up.URL, config: "[proxy]\nshutdown_delay = \"300ms\"\n"})
	key, _ := s.create(nil)
	answer := make(chan *reply, 1)
	go func() {
		r, _ := try("GET", s.proxy+"/slow", as(key), nil)
		answer <- r
	}()
	<-inside
	s.Signal(syscall.SIGTERM)
	waitFor(t, "/readyz to turn 503", func() bool {
		r, err := try("GET", s.proxy+"/readyz", nil, nil)
		return err == nil && r.StatusCode == 503
	})
	close(release)
	if r := <-answer; r == nil || r.StatusCode != 200 || string(r.Raw) != "done" {
		t.Errorf("the request in flight: %+v", r)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
}

// SIGHUP takes new routes; a bad file changes nothing.
func TestReload(t *testing.T) {
	up, _ := echo(t)
	one := fmt.Sprintf("[[proxy.routes]]\npath = \"/one/\"\npublic = true\nupstreams = [%q]\n", up)
	two := strings.Replace(one, "/one/", "/two/", 1)
	s := start(t, options{config: one})
	status := func(path string) int { return do(t, "GET", s.proxy+path, nil, nil).StatusCode }
	if status("/one/x") != 200 || status("/two/x") != 404 {
		t.Fatal("the first file's routes are not served")
	}
	reload := func(text string) {
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Signal(syscall.SIGHUP)
	}
	reload(two + "surprise = 1\n")
	waitFor(t, "the bad file's error", func() bool { return strings.Contains(s.Output(), "surprise") })
	if status("/one/x") != 200 || status("/two/x") != 404 {
		t.Error("a bad file changed the routes")
	}
	reload(two)
	waitFor(t, "the new route", func() bool { return status("/two/x") == 200 })
	if status("/one/x") != 404 {
		t.Error("the old route is still there")
	}

	// A setting that needs a restart does not take effect before it.
	key, _ := s.create(nil)
	three := strings.Replace(strings.Replace(one, "/one/", "/three/", 1), "public = true\n", "", 1)
	reload("[proxy]\nkey_header = \"X-Api-Key\"\n" + three)
	waitFor(t, "the route with keys", func() bool { return status("/three/x") == 401 })
	if r := do(t, "GET", s.proxy+"/three/x", header{"X-Api-Key": key}, nil); r.Code() != "missing_key" {
		t.Errorf("key_header took effect at once: %s %s", r.Status, r.Raw)
	}
}

// SIGHUP takes new files of upstream_tls, although the configuration is the same. Files that
// are wrong change nothing, and stop a start.
func TestReloadOfUpstreamTLS(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	harness.WriteCertificate(t, file("up.pem"), file("up.key"), "upstream")
	harness.WriteCertificate(t, file("one.pem"), file("one.key"), "one")
	harness.WriteCertificate(t, file("two.pem"), file("two.key"), "two")
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.TLS.PeerCertificates[0].Subject.CommonName, r.RemoteAddr)
	}))
	cert, err := tls.LoadX509KeyPair(file("up.pem"), file("up.key"))
	if err != nil {
		t.Fatal(err)
	}
	up.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
	up.StartTLS()
	defer up.Close()
	take := func(name string) {
		for _, ext := range []string{".pem", ".key"} {
			raw, err := os.ReadFile(file(name + ext))
			if err == nil {
				err = os.WriteFile(file("own"+ext), raw, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	take("one")
	s := start(t, options{config: fmt.Sprintf("[[proxy.routes]]\npath = \"/\"\npublic = true\nupstreams = [%q]\nupstream_tls = { ca_file = %q, cert_file = %q, key_file = %q }\n",
		up.URL, file("up.pem"), file("own.pem"), file("own.key"))})
	ask := func() (name, addr string) {
		name, addr, _ = strings.Cut(string(do(t, "GET", s.proxy+"/x", nil, nil).Raw), " ")
		return name, addr
	}
	name, first := ask()
	if again, same := ask(); name != "one" || again != "one" || same != first {
		t.Fatalf("%q over %s, then %q over %s\n%s", name, first, again, same, s.Output())
	}
	if err := os.WriteFile(file("own.pem"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Signal(syscall.SIGHUP)
	waitFor(t, "the bad file's error", func() bool { return strings.Contains(s.Output(), "upstream_tls.cert_file") })
	if name, addr := ask(); name != "one" || addr != first {
		t.Errorf("after a bad file: %q over %s", name, addr)
	}
	take("two")
	s.Signal(syscall.SIGHUP)
	waitFor(t, "the new certificate", func() bool { name, addr := ask(); return name == "two" && addr != first })
	if err := os.Remove(file("own.key")); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Begin()
	if code := s.wait(); code != 2 || !strings.Contains(s.Output(), fmt.Sprintf("upstream_tls.key_file = %q: no such file", file("own.key"))) {
		t.Errorf("a start without the key: exit code %d\n%s", code, s.Output())
	}
}

// The key is in one response and nowhere else.
func TestKeyIsNowhere(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up, args: []string{"--log-level", "debug"}})
	s.roomy()
	var secrets []string
	for i := range 20 {
		key, id := s.create(map[string]any{"name": fmt.Sprint("k", i)})
		r := s.manage(201, "POST", "/v1/keys/"+id+"/rotate", map[string]any{"overlap": "1h"})
		secrets = append(secrets, key, r.Str("key"))
	}
	imported := "imported-secret-0123456789"
	s.manage(200, "POST", "/v1/keys/import", fmt.Sprintf(`{"name":"old","type":"live","key":%q}`, imported))
	secrets = append(secrets, imported)
	var answers strings.Builder
	for i, key := range secrets {
		for _, h := range []header{as(key), as(key + "x"), {"Authorization": "Basic " + key}, as(key, header{"X-Request-Id": "r"})} {
			r := do(t, "GET", s.proxy+"/v1/x", h, nil)
			if r.StatusCode != 200 {
				answers.Write(r.Raw)
			}
		}
		if i == 0 && do(t, "GET", s.proxy+"/v1/x", as(key), nil).StatusCode != 200 {
			t.Fatal("the key does not work")
		}
		answers.Write(do(t, "GET", s.proxy+"/v1/x?key="+key, nil, nil).Raw)
		answers.Write(do(t, "POST", s.admin+"/v1/keys", as(s.operator), map[string]any{"nme": key}).Raw[:0])
	}
	for _, path := range []string{"/v1/keys?limit=1000", "/v1/audit-logs", "/metrics", "/v1/usage?step=day&group_by=key"} {
		answers.Write(do(t, "GET", s.admin+path, as(s.operator), nil).Raw)
	}
	if code := s.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	leaks(t, secrets, "an answer", answers.String())
	leaks(t, secrets, "the log", s.Output())
	err := filepath.WalkDir(s.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		raw, err := os.ReadFile(path)
		leaks(t, secrets, path, string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// leaks fails the test if text holds a secret or the random part of one, which is as
// good as the key.
func leaks(t *testing.T, secrets []string, where, text string) {
	t.Helper()
	for _, key := range secrets {
		if strings.Contains(text, key) {
			t.Errorf("%s holds %s", where, key)
		}
		if len(key) > 40 && strings.Contains(text, key[8:40]) {
			t.Errorf("%s holds the random part of a key", where)
		}
	}
}

// The memory of the process, with the keys in it, is in no core file.
func TestNoDumps(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	s := start(t, options{})
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if !holdsFields(string(limits), "Max", "core", "file", "size", "0", "0", "bytes") {
		t.Errorf("a core file may be written:\n%s", limits)
	}
}
