package e2e

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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
	acknowledged := map[string]string{} // id → state
	revoked := map[string]bool{}        // keys
	for round := range rounds {
		var mu sync.Mutex
		var wg sync.WaitGroup
		stop := make(chan struct{})
		n := 0
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					r, err := try("POST", s.admin+"/v1/keys", as(s.operator), map[string]any{"name": "k", "type": "live"})
					if err != nil || r.StatusCode != 201 {
						return // the process is gone: nothing was acknowledged
					}
					id, key := r.str("id"), r.str("key")
					mu.Lock()
					acknowledged[id] = "active"
					n++
					revoke := n%4 == 0
					mu.Unlock()
					if !revoke {
						continue
					}
					if r, err = try("POST", s.admin+"/v1/keys/"+id+"/revoke", as(s.operator), map[string]any{}); err != nil || r.StatusCode != 200 {
						mu.Lock()
						delete(acknowledged, id) // either state is right
						mu.Unlock()
						return
					}
					mu.Lock()
					acknowledged[id] = "revoked"
					revoked[key] = true
					mu.Unlock()
				}
			})
		}
		waitFor(t, "writes", func() bool { mu.Lock(); defer mu.Unlock(); return n >= 100 })
		s.kill()
		close(stop)
		wg.Wait()
		s.run()
		for id, state := range acknowledged {
			r := do(t, "GET", s.admin+"/v1/keys/"+id, as(s.operator), nil)
			if r.str("state") != state {
				t.Fatalf("round %d: acknowledged key %s is %q after the kill, want %q: %s", round, id, r.str("state"), state, r.raw)
			}
		}
		checked := 0
		for key := range revoked {
			// One address each: failures are limited by address.
			from := header{"X-Forwarded-For": fmt.Sprintf("10.%d.%d.%d", round, checked/250, checked%250)}
			checked++
			if r := do(t, "GET", s.proxy+"/", as(key, from), nil); r.code() != "key_revoked" {
				t.Fatalf("round %d: a revoked key answers %s", round, r.Status)
			}
		}
	}
	t.Logf("%d acknowledged keys over %d kills", len(acknowledged), rounds)
}

func TestSecondInstanceIsRefused(t *testing.T) {
	s := start(t, options{})
	_, stderr, code := perfgate(t, nil, "", "serve", "--data-dir", s.data, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if code == 0 || !strings.Contains(stderr, s.data) || !strings.Contains(stderr, "in use") {
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
	s.cmd.Process.Signal(syscall.SIGTERM)
	waitFor(t, "/readyz to turn 503", func() bool {
		r, err := try("GET", s.proxy+"/readyz", nil, nil)
		return err == nil && r.StatusCode == 503
	})
	close(release)
	if r := <-answer; r == nil || r.StatusCode != 200 || string(r.raw) != "done" {
		t.Errorf("the request in flight: %+v", r)
	}
	if code := s.wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log)
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
		s.cmd.Process.Signal(syscall.SIGHUP)
	}
	reload(two + "surprise = 1\n")
	waitFor(t, "the bad file's error", func() bool { return strings.Contains(s.log.String(), "surprise") })
	if status("/one/x") != 200 || status("/two/x") != 404 {
		t.Error("a bad file changed the routes")
	}
	reload(two)
	waitFor(t, "the new route", func() bool { return status("/two/x") == 200 })
	if status("/one/x") != 404 {
		t.Error("the old route is still there")
	}

	// What takes effect after a restart does not before.
	key, _ := s.create(nil)
	three := strings.Replace(strings.Replace(one, "/one/", "/three/", 1), "public = true\n", "", 1)
	reload("[proxy]\nkey_header = \"X-Api-Key\"\n" + three)
	waitFor(t, "the route with keys", func() bool { return status("/three/x") == 401 })
	if r := do(t, "GET", s.proxy+"/three/x", header{"X-Api-Key": key}, nil); r.code() != "missing_key" {
		t.Errorf("key_header took effect at once: %s %s", r.Status, r.raw)
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
		secrets = append(secrets, key, r.str("key"))
	}
	imported := "imported-secret-0123456789"
	s.manage(200, "POST", "/v1/keys/import", fmt.Sprintf(`{"name":"old","type":"live","key":%q}`, imported))
	secrets = append(secrets, imported)
	var answers strings.Builder
	for i, key := range secrets {
		for _, h := range []header{as(key), as(key + "x"), {"Authorization": "Basic " + key}, as(key, header{"X-Request-Id": "r"})} {
			r := do(t, "GET", s.proxy+"/v1/x", h, nil)
			if r.StatusCode != 200 {
				answers.Write(r.raw)
			}
		}
		if i == 0 && do(t, "GET", s.proxy+"/v1/x", as(key), nil).StatusCode != 200 {
			t.Fatal("the key does not work")
		}
		answers.Write(do(t, "GET", s.proxy+"/v1/x?key="+key, nil, nil).raw)
		answers.Write(do(t, "POST", s.admin+"/v1/keys", as(s.operator), map[string]any{"nme": key}).raw[:0])
	}
	for _, path := range []string{"/v1/keys?limit=1000", "/v1/audit-logs", "/metrics", "/v1/usage?step=day&group_by=key"} {
		answers.Write(do(t, "GET", s.admin+path, as(s.operator), nil).raw)
	}
	if code := s.stop(30 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	leaks := func(where, text string) {
		for _, key := range secrets {
			if strings.Contains(text, key) {
				t.Errorf("%s holds %s", where, key)
			}
			// The random part alone is as good as the key.
			if len(key) > 40 && strings.Contains(text, key[8:40]) {
				t.Errorf("%s holds the random part of a key", where)
			}
		}
	}
	leaks("an answer", answers.String())
	leaks("the log", s.log.String())
	err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
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
		leaks(path, string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Server-sent events arrive one by one, and an upgraded connection is a tunnel.
func TestStreams(t *testing.T) {
	next := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			io.Copy(conn, rw)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			<-next
		}
	}))
	defer up.Close()
	s := start(t, options{upstream: up.URL})
	key, id := s.create(nil)

	req, _ := http.NewRequest("GET", s.proxy+"/sse", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := br.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		br.ReadString('\n')
		next <- struct{}{} // the upstream goes on only now: nothing was buffered
	}

	conn, err := net.Dial("tcp", strings.TrimPrefix(s.proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(startTimeout))
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer %s\r\n\r\n", key)
	br = bufio.NewReader(conn)
	up101, err := http.ReadResponse(br, nil)
	if err != nil || up101.StatusCode != 101 {
		t.Fatalf("%v %v", up101, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := br.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	// A tunnel of a revoked key is closed within 5 s.
	s.manage(200, "POST", "/v1/keys/"+id+"/revoke", map[string]any{})
	conn.SetDeadline(time.Now().Add(5*time.Second + time.Second))
	if _, err := br.ReadByte(); err == nil || os.IsTimeout(err) {
		t.Errorf("the tunnel of a revoked key is still open: %v", err)
	}
}
