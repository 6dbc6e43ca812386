package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the perfgate under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "perfgate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	if binary = os.Getenv("PERFGATE_BINARY"); binary == "" {
		binary = filepath.Join(dir, "perfgate")
		build := exec.Command("go", "build", "-o", binary, "github.com/perfgate/perfgate")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build perfgate:", err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// startTimeout is generous: the machines are shared, and a start that takes
// longer than this is a failure whatever the machine.
const startTimeout = 30 * time.Second

// server is one running perfgate.
type server struct {
	t        testing.TB
	args     []string
	env      []string
	data     string
	config   string // the configuration file's path, if there is one
	cmd      *exec.Cmd
	exited   chan struct{}
	exit     error
	log      *lines
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

var addrPattern = regexp.MustCompile(`(proxy|admin) listening addr=(\S+) tls=(true|false)`)

// baseURL is how a client on this machine reaches a listener.
func baseURL(addr, tls string) string {
	if tls == "true" {
		return "https://" + strings.Replace(addr, "[::]", "127.0.0.1", 1)
	}
	return "http://" + strings.Replace(addr, "[::]", "127.0.0.1", 1)
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
	if o.data == "" {
		o.data = filepath.Join(t.TempDir(), "data")
	}
	s := &server{t: t, data: o.data, env: o.env}
	s.args = append(s.args, "serve", "--data-dir", o.data, "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if o.config != "" {
		s.config = filepath.Join(t.TempDir(), "perfgate.toml")
		if err := os.WriteFile(s.config, []byte(o.config), 0o600); err != nil {
			t.Fatal(err)
		}
		s.args = append(s.args, "--config", s.config)
	}
	if o.upstream != "" {
		s.args = append(s.args, "--upstream", o.upstream)
	}
	s.args = append(s.args, o.args...)
	t.Cleanup(s.kill)
	return s
}

// run starts the process (again) and waits until it is ready.
func (s *server) run() {
	s.t.Helper()
	s.spawn()
	if err := s.ready(); err != nil {
		s.t.Fatalf("%v\n%s", err, s.log)
	}
}

func (s *server) spawn() {
	s.t.Helper()
	s.cmd = exec.Command(binary, s.args...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Dir = s.t.TempDir()
	s.log = newLines()
	s.cmd.Stderr = s.log
	s.cmd.Stdout = s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		s.exit = cmd.Wait()
		close(done)
	}(s.cmd, s.exited)
}

func (s *server) ready() error {
	deadline := time.After(startTimeout)
	for want := map[string]*string{"proxy": &s.proxy, "admin": &s.admin}; len(want) > 0; {
		select {
		case l := <-s.log.feed:
			if m := addrPattern.FindStringSubmatch(l); m != nil && want[m[1]] != nil {
				*want[m[1]] = baseURL(m[2], m[3])
				delete(want, m[1])
			}
		case <-s.exited:
			return fmt.Errorf("perfgate ended before it listened: %v", s.exit)
		case <-deadline:
			return errors.New("perfgate did not say where it listens")
		}
	}
	for {
		resp, err := httpClient.Get(s.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("perfgate ended before it was ready: %v", s.exit)
		case <-deadline:
			return errors.New("perfgate was not ready in time")
		case <-time.After(5 * time.Millisecond):
		}
	}
	token, err := os.ReadFile(filepath.Join(s.data, "operator.token"))
	if err != nil {
		return err
	}
	s.operator = strings.TrimSpace(string(token))
	return nil
}

// kill ends the process as a crash does. It may be called at any time.
func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.exited
}

// stop asks the process to end and returns its exit code.
func (s *server) stop(limit time.Duration) int {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	return s.wait(limit)
}

func (s *server) wait(limit time.Duration) int {
	s.t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		s.t.Fatalf("perfgate has not ended within %v\n%s", limit, s.log)
		return -1
	}
}

// perfgate runs a command of the CLI to its end.
func perfgate(t testing.TB, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(binary, args...)
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

// lines collects what a process prints and feeds it on by line.
type lines struct {
	mu   sync.Mutex
	all  bytes.Buffer
	feed chan string
	w    *io.PipeWriter
}

func newLines() *lines {
	r, w := io.Pipe()
	l := &lines{feed: make(chan string, 1<<12), w: w}
	go func() {
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			select {
			case l.feed <- sc.Text():
			default: // nobody reads any more; all still has it
			}
		}
		io.Copy(io.Discard, r)
	}()
	return l
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.all.Write(p)
	l.mu.Unlock()
	return l.w.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
