package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// rsyslog is Debian's rsyslogd, which takes RFC 5424 over TLS and writes the messages to a file.
type rsyslog struct {
	t                     *testing.T
	dir, cert, key, taken string
	port                  int
	cmd                   *exec.Cmd
}

func newRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	if os.Getenv("PERFGATE_E2E_SYSLOG") == "" {
		t.Skip("PERFGATE_E2E_SYSLOG is not set; the test needs rsyslogd with rsyslog-gnutls")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &rsyslog{t: t, dir: dir, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), taken: filepath.Join(dir, "taken"), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	harness.WriteCertificate(t, r.cert, r.key, "log")
	config := fmt.Sprintf(`global(workDirectory=%[1]q maxMessageSize="512k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile=%[2]q defaultNetstreamDriverCertFile=%[2]q defaultNetstreamDriverKeyFile=%[3]q)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="%[4]d")
template(name="plain" type="string" string="%%syslogfacility%% %%hostname%% %%app-name%% %%msg%%\n")
action(type="omfile" file=%[5]q template="plain")
`, dir, r.cert, r.key, r.port, r.taken)
	if err := os.WriteFile(filepath.Join(dir, "rsyslog.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rsyslog) start() {
	r.t.Helper()
	out, err := os.OpenFile(filepath.Join(r.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	r.cmd = exec.Command("rsyslogd", "-n", "-f", filepath.Join(r.dir, "rsyslog.conf"), "-i", filepath.Join(r.dir, "pid"))
	r.cmd.Stdout, r.cmd.Stderr = out, out
	if err := harness.Spawn(r.cmd); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rsyslog) stop() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// await waits until the server has taken a message with a text.
func (r *rsyslog) await(text string) {
	r.t.Helper()
	harness.Await(r.t, 2*time.Minute, "rsyslog to take "+text, func() error {
		if raw, err := os.ReadFile(r.taken); err != nil || !strings.Contains(string(raw), text) {
			return errors.Join(err, errors.New("it is not there"))
		}
		return nil
	})
}

// Every event reaches a real syslog server over TLS, although the server and the node are killed
// in between, and the heads that it took prove an export of the node.
func TestSyslogSink(t *testing.T) {
	r := newRsyslog(t)
	r.start()
	up, _ := echo(t)
	s := start(t, options{upstream: up, config: fmt.Sprintf("[node]\nname = \"gate-1\"\n[[audit.sinks]]\nurl = \"syslog+tls://127.0.0.1:%d\"\nca_file = %q\n", r.port, r.cert)})
	var ids []string
	act := func() {
		key, id := s.create(map[string]any{"scopes": []string{"read"}})
		denied := do(t, "POST", s.proxy+"/v1/x", as(key), "{}")
		ids = append(ids, id, denied.Str("error", "request_id"))
	}
	act()
	r.await(ids[1])
	r.stop()
	for range 5 {
		act()
	}
	harness.Await(t, time.Minute, "the events to be written", func() error {
		if answer := s.manage(200, "GET", "/v1/audit-logs?format=ndjson", nil); !strings.Contains(string(answer.Raw), ids[len(ids)-1]) {
			return errors.New("the last one is not in the log")
		}
		return nil
	})
	s.Kill()
	r.start()
	s.run()
	act()
	for _, id := range ids {
		r.await(`"` + id + `"`)
	}
	raw, err := os.ReadFile(r.taken)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "13 gate-1 perfgate ") && !strings.Contains(string(raw), "audit gate-1 perfgate ") {
		t.Errorf("facility, host and program are not as expected:\n%s", raw[:min(len(raw), 500)])
	}
	r.await(`"path":{`) // a head with the account's place
	r.proves(s)
}

// proves checks an export of the server with the heads that were taken.
func (r *rsyslog) proves(s *server) {
	r.t.Helper()
	raw, err := os.ReadFile(r.taken)
	if err != nil {
		r.t.Fatal(err)
	}
	var heads []string
	for line := range strings.Lines(string(raw)) {
		if i := strings.Index(line, `{"account":`); i >= 0 {
			heads = append(heads, strings.TrimSpace(line[i:]))
		}
	}
	file, exported := filepath.Join(r.dir, "heads"), filepath.Join(r.dir, "export")
	if err := os.WriteFile(file, []byte(strings.Join(heads, "\n")), 0o600); err != nil {
		r.t.Fatal(err)
	}
	env := []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}
	if _, errs, code := perfgate(r.t, env, "", "audit", "export", "--format", "ndjson", "--output", exported); code != 0 {
		r.t.Fatalf("export: exit code %d: %s", code, errs)
	}
	if out, errs, code := perfgate(r.t, env, "", "audit", "verify", exported, "--head", file); code != 0 || !strings.Contains(out, "OK: signed by") {
		r.t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
