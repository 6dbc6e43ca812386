package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
	"github.com/perfgate/perfgate/store/logtest"
)

// loneNode is a node without others that runs in this process.
type loneNode struct {
	*Node
	out  *logtest.Log
	stop func() error // ends Run and returns its error, once
}

// startLone opens and runs a node on free ports, on the data directory dir.
func startLone(t *testing.T, dir string, args ...string) *loneNode {
	t.Helper()
	args = append([]string{"--data-dir", dir, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	load := func() (*config.Config, error) {
		c, err := Load(args, configtest.Environ())
		if err == nil {
			c.Proxy.ShutdownDelay = 0
		}
		return c, err
	}
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	l := &loneNode{out: &logtest.Log{}}
	exit := func(code int) { t.Errorf("the node exits with %d: %s", code, l.out) }
	if l.Node, err = Open(t.Context(), Options{Config: c, Load: load, Out: l.out, Version: "test", Exit: exit}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	l.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := l.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return l
}

// get sends a request to a listener and returns status and body.
func (l *loneNode) get(t *testing.T, from *listener, path, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+from.server.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// token is the operator token that the first start wrote.
func (l *loneNode) token(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.config.Node.DataDir, datadir.OperatorTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// The demo's line works exactly as printed, and a restart keeps the state.
func TestDemoAndRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startLone(t, dir)
	printed := regexp.MustCompile(`curl (http://127\.0\.0\.1:\d+/hello) -H "Authorization: Bearer (\S+)"`).FindStringSubmatch(n.out.String())
	if printed == nil {
		t.Fatalf("no line to paste in %s", n.out)
	}
	key := printed[2]
	if !strings.Contains(printed[1], n.proxyListener.server.Addr().String()) {
		t.Errorf("the line names %s, the proxy is at %s", printed[1], n.proxyListener.server.Addr())
	}
	if at := "Dashboard: " + n.adminListener.origin() + "/ (sign in with the operator token in " + dir; !strings.Contains(n.out.String(), at) {
		t.Errorf("%q is not in %s", at, n.out)
	}
	if status, body := n.get(t, n.proxyListener, "/hello", key); status != 200 {
		t.Errorf("the demo answers %d: %s", status, body)
	}
	if status, _ := n.get(t, n.proxyListener, "/hello", ""); status != 401 {
		t.Errorf("without a key the demo answers %d", status)
	}
	if status, body := n.get(t, n.proxyListener, "/readyz", ""); status != 200 {
		t.Errorf("/readyz answers %d: %s", status, body)
	}
	if got := strings.Count(n.out.String(), key); got != 1 {
		t.Errorf("the key is in the output %d times", got)
	}
	status, body := n.get(t, n.adminListener, "/v1/cluster", n.token(t))
	var seen struct {
		ClusterID string `json:"cluster_id"`
	}
	if err := json.Unmarshal([]byte(body), &seen); status != 200 || err != nil || seen.ClusterID == "" {
		t.Fatalf("/v1/cluster answers %d: %s", status, body)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(n.out.String(), "stopped") {
		t.Errorf("the log does not end with the stop: %s", n.out)
	}

	// With an upstream there is no demo any more; the key of the demo stays valid.
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "mine") }))
	defer upstream.Close()
	again := startLone(t, dir, "--upstream", upstream.URL)
	if status, body := again.get(t, again.proxyListener, "/hello", key); status != 200 || body != "mine" {
		t.Errorf("after a restart the upstream answers %d: %s", status, body)
	}
	if got := again.store.ClusterID(); got != seen.ClusterID {
		t.Errorf("after a restart the cluster is %s, it was %s", got, seen.ClusterID)
	}
	if strings.Contains(again.out.String(), "curl") {
		t.Errorf("a demo key is made beside an upstream: %s", again.out)
	}
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}

	// Another demo makes another key, and ends the one that it cannot show again.
	third := startLone(t, dir)
	if status, _ := third.get(t, third.proxyListener, "/hello", key); status != 401 {
		t.Errorf("with the key of an earlier demo, the next one answers %d", status)
	}
}

// PERFGATE_OPERATOR_TOKEN replaces the operator tokens of a state that exists.
func TestOperatorTokenIsReplaced(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	old := n.token(t)
	const given = "op_given_by_the_environment"
	if err := n.startup.replaceToken(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{given: 200, old: 401} {
		if status, body := n.get(t, n.adminListener, "/v1/cluster", token); status != want {
			t.Errorf("%.10s… is answered with %d, want %d: %s", token, status, want, body)
		}
	}
	before := n.store.Applied()
	for _, same := range []string{given, ""} {
		if err := n.startup.replaceToken(t.Context(), same); err != nil || n.store.Applied() != before {
			t.Errorf("%q changes the state: %v", same, err)
		}
	}
}

// A failing step of the start undoes those before it: the ports and the data
// directory are free again.
func TestFailedStartIsUndone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// The state cannot be opened where its directory is a file.
	state := filepath.Join(dir, datadir.StateDir)
	if err := os.WriteFile(state, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, []string{"--data-dir", dir, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"})
	out := &logtest.Log{}
	if _, err := Open(t.Context(), Options{Config: c, Out: out, Version: "test", Exit: func(int) {}}); err == nil {
		t.Fatal("a node opens without a state")
	}
	bound := regexp.MustCompile(`listening addr=(\S+)`).FindAllStringSubmatch(out.String(), -1)
	if len(bound) != 2 {
		t.Fatalf("the listeners are not in the log: %s", out)
	}
	for _, b := range bound {
		if conn, err := net.Dial("tcp", b[1]); err == nil {
			conn.Close()
			t.Errorf("%s is still bound", b[1])
		}
	}
	lock, err := datadir.Open(dir)
	if err != nil {
		t.Fatalf("the data directory stays locked: %v", err)
	}
	lock.Release()
}

// Cleanups run last first, all of them, and their errors name the part.
func TestCloseOrder(t *testing.T) {
	n := &Node{log: quiet()}
	var order []string
	broken := errors.New("broken")
	for _, name := range []string{"first", "second", "third"} {
		n.cleanup(name, func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("the cleanup of %s has no bound", name)
			}
			order = append(order, name)
			if name == "second" {
				return broken
			}
			return nil
		})
	}
	err := n.close()
	if !slices.Equal(order, []string{"third", "second", "first"}) {
		t.Errorf("closed in the order %q", order)
	}
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "close the second: broken") {
		t.Errorf("close = %v", err)
	}
	if err := n.close(); err != nil || len(order) != 3 {
		t.Errorf("a second close undoes again: %q, %v", order, err)
	}
}

// A draining node is not ready, and says so where it is asked.
func TestDraining(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	token := n.token(t)
	if err := n.Ready(); err != nil {
		t.Fatal(err)
	}
	n.draining.Store(true)
	if err := n.Ready(); err == nil || err.Error() != "draining" {
		t.Errorf("Ready = %v", err)
	}
	if status, _ := n.get(t, n.proxyListener, "/readyz", ""); status != 503 {
		t.Errorf("/readyz answers %d", status)
	}
	if status, _ := n.get(t, n.proxyListener, "/livez", ""); status != 200 {
		t.Errorf("/livez answers %d", status)
	}
	if _, body := n.get(t, n.adminListener, "/v1/cluster", token); !strings.Contains(body, `"draining"`) {
		t.Errorf("the cluster's status is %s", body)
	}
	for metric, want := range map[string]string{"perfgate_node_ready": "0", "perfgate_build_info": "1"} {
		_, body := n.get(t, n.adminListener, "/metrics", "")
		if !regexp.MustCompile(`(?m)^` + metric + `(\{version="test"\})? ` + want + `$`).MatchString(body) {
			t.Errorf("%s is not %s in /metrics", metric, want)
		}
	}
	n.draining.Store(false)
}

// A reload of a whole node changes routes and the level of the log, and nothing if
// a part refuses.
func TestReloadNode(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "mine") }))
	defer upstream.Close()
	path := configtest.File(t, "")
	n := startLone(t, t.TempDir(), "--config", path)
	key := regexp.MustCompile(`Bearer (\S+)"`).FindStringSubmatch(n.out.String())[1]
	reload := func(text string) error {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return n.Reload()
	}
	if err := reload("[proxy]\nupstream = \"" + upstream.URL + "\"\n[log]\nlevel = \"debug\""); err != nil {
		t.Fatal(err)
	}
	if status, body := n.get(t, n.proxyListener, "/", key); status != 200 || body != "mine" {
		t.Errorf("after the reload the proxy answers %d: %s", status, body)
	}
	if !n.Log().Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the level of the log did not change")
	}
	if err := reload("[proxy]\nupstream = \"ftp://x\"\n[log]\nlevel = \"error\""); configtest.ExitCode(err) != 2 {
		t.Errorf("a bad upstream: %v", err)
	}
	if status, body := n.get(t, n.proxyListener, "/", key); status != 200 || body != "mine" {
		t.Errorf("after a bad reload the proxy answers %d: %s", status, body)
	}
	if !n.Log().Enabled(t.Context(), slog.LevelDebug) {
		t.Error("a bad reload changed the level of the log")
	}
}

// Retention and environment are read from the state, with defaults for accounts and
// keys that are gone.
func TestLocalDataAsksTheState(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	from := &source{store: n.store, clock: n.clock, log: n.log}
	if got := from.retention(store.DefaultAccount); got < 24*time.Hour || got%(24*time.Hour) != 0 {
		t.Errorf("the default account's retention is %v", got)
	}
	if got := from.retention("acct_gone"); got != 0 {
		t.Errorf("a deleted account's retention is %v", got)
	}
	days := 9
	err := errors.Join(
		change(n, &store.Command{Account: store.DefaultAccount, Change: &store.AccountUpdate{RetentionDays: &days}}),
		change(n, &store.Command{Account: store.DefaultAccount, Change: &store.KeyCreate{Key: store.Key{
			ID: "key_1", Hash: store.Hash{1}, Hint: "h", Account: store.DefaultAccount, Type: store.Live, Name: "k", Scopes: []string{"read"}, Environment: "staging", Life: store.Life{CreatedAt: time.Now()},
		}}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := from.retention(store.DefaultAccount); got != 9*24*time.Hour {
		t.Errorf("the retention is %v, want 9 days", got)
	}
	for id, want := range map[store.KeyID]string{"key_1": "staging", "key_gone": ""} {
		if got := from.environment(id); got != want {
			t.Errorf("the environment of %s is %q, want %q", id, got, want)
		}
	}
}

// change proposes a command of the node itself.
func change(n *loneNode, c *store.Command) error {
	c.At, c.Actor = time.Now(), n.startup.system()
	_, err := n.replica.Write(context.Background(), c)
	return err
}

// The names that the configuration accepts are those of the packages that use them.
func TestConfiguredNames(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	for _, tier := range []string{"free", "pro", "enterprise"} {
		mustLoad(t, []string{"--config", configtest.File(t, "[accounts]\ndefault_tier = \""+tier+"\"")})
		if err := change(n, &store.Command{Account: store.DefaultAccount, Change: &store.AccountUpdate{Tier: &tier}}); err != nil {
			t.Errorf("the state has no tier %s: %v", tier, err)
		}
	}
	for _, requests := range []string{local.RequestsAll, local.RequestsDenied, local.RequestsOff} {
		mustLoad(t, []string{"--config", configtest.File(t, "[audit]\nrequests = \""+requests+"\"")})
	}
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		"[::]:8080": "127.0.0.1:8080", "0.0.0.0:8080": "127.0.0.1:8080", "10.0.0.1:8080": "10.0.0.1:8080", "[::1]:8080": "[::1]:8080",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("%s is reachable at %s, want %s", addr, got, want)
		}
	}
}
