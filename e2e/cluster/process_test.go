package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// readyLimit is generous: the machines are shared.
	readyLimit = 45 * time.Second
	// stopLimit is more than shutdown_delay and drain together.
	stopLimit = 20 * time.Second
)

// process is one perfgate, started any number of times over the same data.
type process struct {
	t       testing.TB
	name    string
	argv    []string // what runs it, a prefix such as "ip netns exec" included
	env     []string
	dir     string // working directory
	data    string
	logPath string
	cmd     *exec.Cmd
	exited  chan struct{}
	exit    error // of cmd; read it after exited
}

// environment is that of this process, without what would configure a node.
func environment(more ...string) []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PERFGATE_") {
			out = append(out, v)
		}
	}
	return append(out, more...)
}

// begin starts the process; wrap is put before its command line, for this
// start alone.
func (p *process) begin(wrap ...string) {
	p.t.Helper()
	if err := p.tryBegin(wrap...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) tryBegin(wrap ...string) error {
	if p.running() {
		return fmt.Errorf("%s is running already", p.name)
	}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	argv := append(append([]string(nil), wrap...), p.argv...)
	fmt.Fprintf(log, "--- %s: %s\n", time.Now().Format(time.RFC3339Nano), strings.Join(argv, " "))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.env, p.dir, log, log
	if err := spawn(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		err := cmd.Wait()
		p.exit = err
		close(exited)
	}()
	return nil
}

func (p *process) running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process as a crash does, paused or not.
func (p *process) kill() {
	if p.exited != nil {
		p.cmd.Process.Kill()
		<-p.exited
	}
}

// terminate asks the process to end and wants exit code 0.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s exited with %d after SIGTERM", p.name, code)
		}
		return nil
	case <-time.After(stopLimit):
		return fmt.Errorf("%s has not ended within %v of SIGTERM", p.name, stopLimit)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// ready is nil when the node says that it is; otherwise it says why not.
// errEnded is in the error if the process has ended.
func (p *process) ready(admin string) error {
	if !p.running() {
		return fmt.Errorf("%s: %w: %v", p.name, errEnded, p.exit)
	}
	r, err := within(2*time.Second, "GET", admin+"/readyz", nil, nil)
	if err != nil {
		return err
	}
	if r.status != 200 {
		return fmt.Errorf("%s: /readyz says %v", p.name, r)
	}
	return nil
}

var errEnded = errors.New("the process has ended")

// tail is the end of the log.
func (p *process) tail(lines int) string {
	raw, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	return fmt.Sprintf("=== %s, %s:\n%s\n", p.name, filepath.Base(p.logPath), bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
