package e2e

import (
	"bytes"
	"context"
	"errors"
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

func TestMain(m *testing.M) { harness.Main(m) }

// startTimeout is generous: the machines are shared, and a start that takes
// longer than this is a failure on any machine.
const startTimeout = time.Minute

// server is one running perfgate.
type server struct {
	*harness.Process
	t        testing.TB
	config   string // the configuration file's path, if there is one
	proxy    string // base URL
	admin    string // base URL
	operator string // token
}

// options of start.
type options struct {
	data     string   // "" = a fresh directory
	config   string   // TOML text, written to a file
	args     []string // further flags
	env      []string
	upstream string // --upstream
}

// start runs `perfgate serve` and returns when /readyz answers 200.
func start(t testing.TB, o options) *server {
	t.Helper()
	s := prepare(t, o)
	s.run()
	return s
}

func prepare(t testing.TB, o options) *server {
	t.Helper()
	dir := t.TempDir()
	if o.data == "" {
		o.data = filepath.Join(dir, "data")
	}
	s := &server{t: t, Process: &harness.Process{
		T: t, Name: "perfgate", Env: append(os.Environ(), o.env...), Dir: dir, Data: o.data, LogPath: filepath.Join(dir, "log"),
		Argv: []string{harness.Binary(t), "serve", "--data-dir", o.data, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"},
	}}
	if o.config != "" {
		s.config = filepath.Join(dir, "perfgate.toml")
		if err := os.WriteFile(s.config, []byte(o.config), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Argv = append(s.Argv, "--config", s.config)
	}
	if o.upstream != "" {
		s.Argv = append(s.Argv, "--upstream", o.upstream)
	}
	s.Argv = append(s.Argv, o.args...)
	t.Cleanup(s.Kill)
	return s
}

// run starts the process (again) and waits until it is ready.
func (s *server) run() {
	s.t.Helper()
	s.Begin()
	s.proxy, s.admin = "", ""
	if err := harness.Poll(startTimeout, "perfgate to be ready", s.ready); err != nil {
		s.t.Fatalf("%v\n%s", err, s.Output())
	}
	if err := s.Ended(); err != nil {
		s.t.Fatalf("before it was ready: %v\n%s", err, s.Output())
	}
	token, err := os.ReadFile(filepath.Join(s.Data, "operator.token"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.operator = strings.TrimSpace(string(token))
}

var addrPattern = regexp.MustCompile(`(proxy|admin) listening addr=(\S+) tls=(true|false)`)

// ready is nil when the process is ready, or has ended.
func (s *server) ready() error {
	if !s.Running() {
		return nil
	}
	for _, m := range addrPattern.FindAllStringSubmatch(s.Output(), -1) {
		*map[string]*string{"proxy": &s.proxy, "admin": &s.admin}[m[1]] = baseURL(m[2], m[3])
	}
	if s.proxy == "" || s.admin == "" {
		return errors.New("it did not log its addresses")
	}
	r, err := try("GET", s.admin+"/readyz", nil, nil)
	if err == nil && r.StatusCode != 200 {
		err = errors.New(r.String())
	}
	return err
}

// baseURL is how a client on this machine reaches a listener.
func baseURL(addr, tls string) string {
	scheme := "http://"
	if tls == "true" {
		scheme = "https://"
	}
	return scheme + strings.Replace(addr, "[::]", "127.0.0.1", 1)
}

// stop asks the process to end and returns its exit code.
func (s *server) stop() int {
	s.t.Helper()
	s.Signal(syscall.SIGTERM)
	return s.wait()
}

// wait waits until the process ends and returns its exit code.
func (s *server) wait() int {
	s.t.Helper()
	code, err := s.Wait(startTimeout)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.Output())
	}
	return code
}

// perfgate runs a command of the CLI to its end.
func perfgate(t testing.TB, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
