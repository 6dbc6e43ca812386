package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
)

// misses are the tests of h2spec that fail, with the reasons in
// docs/decisions/102-http2.md.
var misses = []string{
	"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
	"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
	"Sends a HEADERS frame that contains the connection-specific header field",
	`Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`,
}

var (
	score  = regexp.MustCompile(`(?m)^(\d+) tests, (\d+) passed, 0 skipped, (\d+) failed$`)
	failed = regexp.MustCompile(`(?m)× \d+: (.*)$`)
)

// overTLS starts a proxy that speaks TLS, with a public route at /open and another one at
// /, and skips the test unless `make e2e` runs it.
func overTLS(t *testing.T) *server {
	t.Helper()
	if os.Getenv("PERFGATE_E2E_HTTP2") == "" {
		t.Skip("make e2e runs it: it needs h2load, and fetches h2spec")
	}
	up, _ := echo(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	harness.WriteCertificate(t, cert, key, "one")
	return start(t, options{config: fmt.Sprintf(`
[proxy.tls]
cert_file = %q
key_file = %q
[[proxy.routes]]
path = "/open"
public = true
upstreams = [%[3]q]
[[proxy.routes]]
path = "/"
upstreams = [%[3]q]
`, cert, key, up)})
}

// h2spec passes all of its tests over TLS but those whose failure is on purpose. The
// route reads the whole body before it answers: an earlier answer would win against the
// fault that follows.
func TestH2spec(t *testing.T) {
	s := overTLS(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.proxy, "https://"), ":")
	cmd := exec.Command("go", "tool", "-modfile=.ci/h2spec.mod", "h2spec", "-h", "127.0.0.1", "-p", port, "-t", "-k", "-P", "/open", "--timeout", "5")
	cmd.Dir = ".."
	out, _ := cmd.CombinedOutput() // it exits with 1, as some tests fail
	got := score.FindStringSubmatch(string(out))
	if got == nil || got[1] != "145" {
		t.Fatalf("h2spec says\n%s", out)
	}
	for _, m := range failed.FindAllStringSubmatch(string(out), -1) {
		if !slices.Contains(misses, strings.TrimSpace(m[1])) {
			t.Errorf("h2spec fails: %s", m[1])
		}
	}
	t.Log(got[0])
	if t.Failed() || got[3] != fmt.Sprint(len(misses)) {
		t.Errorf("%s; %d are known to fail\n%s", got[0], len(misses), out)
	}
}

// A fast client that others wrote has all of its requests answered with 200: no budget of
// frames is in its way.
func TestH2load(t *testing.T) {
	s := overTLS(t)
	s.roomy()
	key, _ := s.create(nil)
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, make([]byte, 20<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"-d", body}} {
		args := append([]string{"-n", "4000", "-c", "4", "-m", "100", "-H", "Authorization: Bearer " + key}, more...)
		out, err := exec.Command("h2load", append(args, s.proxy+"/x")...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx") || !strings.Contains(string(out), "4000 succeeded, 0 failed, 0 errored, 0 timeout") {
			t.Errorf("h2load %q: %v\n%s", more, err, out)
		}
	}
	metrics := string(do(t, "GET", s.admin+"/metrics", nil, nil).Raw)
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "perfgate_listener_http2_connections_ended_total") && !strings.HasSuffix(line, " 0\n") {
			t.Error(line)
		}
	}
}
