package e2e

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// Silent connections from one address, more than the process may have open files, lock
// nobody out of either listener: probes and the operator are answered, from that address
// and from another.
func TestFloodedListeners(t *testing.T) {
	const files = 512
	s := prepare(t, options{})
	s.Argv = append([]string{"sh", "-c", `ulimit -n ` + strconv.Itoa(files) + ` && exec "$@"`, "sh"}, s.Argv...)
	s.run()
	for name, base := range map[string]string{"admin": s.admin, "proxy": s.proxy} {
		t.Run(name, func(t *testing.T) {
			for range files + 100 {
				c, err := net.DialTimeout("tcp", strings.TrimPrefix(base, "http://"), 20*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
				s.answersFrom(t, from)
			}
		})
	}
	metrics := string(do(t, "GET", s.admin+"/metrics", nil, nil).Raw)
	for _, line := range []string{ // a sixteenth of the limit; half of what is left for clients
		`perfgate_listener_connections_max{listener="admin"} 32`, `perfgate_listener_connections_max{listener="proxy"} 112`,
		`perfgate_listener_connections_closed_total{listener="admin",reason="address"} `, `perfgate_listener_connections_closed_total{listener="proxy",reason="address"} `,
	} {
		if !strings.Contains(metrics, line) || strings.Contains(metrics, line+"0\n") {
			t.Errorf("the metrics lack %q, or it is 0", line)
		}
	}
}

// answersFrom fails unless both listeners answer an operator at that address.
func (s *server) answersFrom(t *testing.T, from string) {
	t.Helper()
	client := &http.Client{Timeout: callTimeout, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	for _, url := range []string{s.admin + "/readyz", s.proxy + "/readyz", s.admin + "/v1/cluster"} {
		r, err := harness.Call(context.Background(), client, "GET", url, as(s.operator), nil)
		if err != nil || r.StatusCode != 200 {
			t.Errorf("from %s, GET %s: %v, %v", from, url, r, err)
		}
	}
}
