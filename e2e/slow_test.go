package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// slowModes are the ways of slowhttptest to be slow, with the settings that make it worst:
// a field or a piece of a body each second, and windows of a few octets.
var slowModes = map[string][]string{
	"heads":  {"-H", "-i", "1", "-x", "8"},
	"bodies": {"-B", "-i", "1", "-x", "8", "-s", "4000", "-f", "application/json"},
	"reads":  {"-X", "-w", "8", "-y", "16", "-n", "1", "-z", "4", "-k", "1"},
}

// good are requests of good clients and how they went.
type good struct {
	mu     sync.Mutex
	took   []time.Duration
	failed []string
}

// ask sends requests until ctx ends, with a connection for each, or one for all.
func (g *good) ask(ctx context.Context, url, token, from string, keep bool) {
	client := &http.Client{Timeout: callTimeout, Transport: &http.Transport{
		DisableKeepAlives: !keep, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		began := time.Now()
		r, err := harness.Call(context.Background(), client, "GET", url, as(token), nil)
		g.mu.Lock()
		g.took = append(g.took, time.Since(began))
		if err != nil || r.StatusCode != 200 {
			g.failed = append(g.failed, fmt.Sprintf("from %s, keep %v: %v, %+v", from, keep, err, r))
		}
		g.mu.Unlock()
	}
}

// p99 is the 99th percentile of the times.
func (g *good) p99() time.Duration {
	slices.Sort(g.took)
	return g.took[len(g.took)*99/100]
}

// during has good clients ask a listener for a time.
func during(d time.Duration, url, token string) *good {
	g := &good{}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var all sync.WaitGroup
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		for _, keep := range []bool{true, false} {
			all.Go(func() { g.ask(ctx, url, token, from, keep) })
		}
	}
	all.Wait()
	return g
}

// Clients that are slow with heads, with bodies or in reading, more of them than a listener
// has places, harm no good client of either listener.
func TestSlowClients(t *testing.T) {
	if os.Getenv("PERFGATE_E2E_SLOW") == "" {
		t.Skip("make e2e runs it: it needs slowhttptest")
	}
	big := make([]byte, 8<<20) // more than the kernel takes for a client that does not read
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil && r.URL.Path == "/big" {
			w.Write(big)
		}
	}))
	defer up.Close()
	s := prepare(t, options{config: fmt.Sprintf("[[proxy.routes]]\npath = \"/\"\nupstreams = [%[1]q]\n[[proxy.routes]]\npath = \"/big\"\npublic = true\nupstreams = [%[1]q]\n", up.URL)})
	const files = 512 // 112 places on the proxy listener, 32 on the admin listener
	s.Argv = append([]string{"sh", "-c", `ulimit -n ` + strconv.Itoa(files) + ` && exec "$@"`, "sh"}, s.Argv...)
	s.run()
	s.roomy()
	key, _ := s.create(nil)
	// The bodies go to calls that wait for them: a listener refuses other bodies at once.
	for name, l := range map[string]struct{ url, slow, body, token string }{
		"proxy": {s.proxy + "/x", s.proxy + "/big", s.proxy + "/big", key},
		"admin": {s.admin + "/v1/cluster", s.admin + "/openapi.yaml", s.admin + "/v1/session", s.operator},
	} {
		taken := fmt.Sprintf(`perfgate_listener_connections_closed_total{listener=%q,reason=`, name)
		quiet := during(2*time.Second, l.url, l.token)
		for mode, args := range slowModes {
			t.Run(name+", "+mode, func(t *testing.T) {
				before := sumOf(string(s.manage(200, "GET", "/metrics", nil).Raw), taken)
				url := l.slow
				if mode == "bodies" {
					url = l.body
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				attack := exec.CommandContext(ctx, "slowhttptest", append(args, "-c", "600", "-r", "200", "-l", "60", "-p", "60", "-u", url)...)
				if err := harness.Spawn(attack); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "the listener is full", func() bool {
					r, err := try("GET", s.admin+"/metrics", as(s.operator), nil)
					return err == nil && sumOf(string(r.Raw), taken) > before
				})
				// Other work can stall the machine for one round. The slow clients would slow down each:
				// they stay for a minute.
				for round := 1; ; round++ {
					g := during(6*time.Second, l.url, l.token)
					if len(g.failed) > 0 {
						t.Errorf("%d of %d good requests failed: %s", len(g.failed), len(g.took), g.failed[0])
					}
					t.Logf("%d good requests, p99 %v, quiet %v", len(g.took), g.p99(), quiet.p99())
					if g.p99() <= 2*quiet.p99()+time.Second { // a second for a loaded machine
						break
					}
					if round == 3 {
						t.Errorf("p99 is %v in the third round, it was %v without the slow clients", g.p99(), quiet.p99())
						break
					}
				}
				cancel()
				_ = attack.Wait() // it was ended
			})
		}
	}
	if !strings.Contains(s.Output(), "an address is at its bound of connections") {
		t.Errorf("no line in the log tells of the bound:\n%s", s.Output())
	}
}

// sumOf adds the values of the series that begin with prefix.
func sumOf(metrics, prefix string) (sum float64) {
	for line := range strings.Lines(metrics) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			_, value, _ := strings.Cut(rest, "} ")
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			sum += n
		}
	}
	return sum
}
