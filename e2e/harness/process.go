package harness

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

// Process is one perfgate, started any number of times over the same data. The
// exported fields are set before it is started and change only while it does not run.
type Process struct {
	T       testing.TB
	Name    string
	Argv    []string // runs it; a prefix such as "ip netns exec" is part of it
	Env     []string
	Dir     string // working directory
	Data    string
	LogPath string // its output over all starts

	cmd    *exec.Cmd
	began  int64         // length of the log at this start
	exited chan struct{} // closed at its end; nil before the first start
	exit   error         // of cmd; set before exited is closed
}

// ErrEnded is in the errors about a process that does not run any more.
var ErrEnded = errors.New("the process has ended")

// Environment is that of this process, without the variables that would configure a
// node, and more.
func Environment(more ...string) []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PERFGATE_") {
			out = append(out, v)
		}
	}
	return append(out, more...)
}

// Begin starts the process; wrap is put before its command line, for this start
// alone.
func (p *Process) Begin(wrap ...string) {
	p.T.Helper()
	if err := p.begin(wrap...); err != nil {
		p.T.Fatal(err)
	}
}

func (p *Process) begin(wrap ...string) error {
	if p.Running() {
		return fmt.Errorf("%s is running already", p.Name)
	}
	log, err := os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	argv := append(append([]string(nil), wrap...), p.Argv...)
	fmt.Fprintf(log, "--- %s: %s\n", time.Now().Format(time.RFC3339Nano), strings.Join(argv, " "))
	if p.began, err = log.Seek(0, 2); err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.Env, p.Dir, log, log
	if err := Spawn(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		p.exit = cmd.Wait()
		close(exited)
	}()
	return nil
}

// Running reports whether the process was started and has not ended.
func (p *Process) Running() bool {
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

// Ended is nil while the process runs, and tells how it ended afterwards.
func (p *Process) Ended() error {
	if p.Running() {
		return nil
	}
	return fmt.Errorf("%s: %w: %v", p.Name, ErrEnded, p.exit)
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as a crash does, paused or not. It may be called at any time.
func (p *Process) Kill() {
	if p.exited != nil {
		p.cmd.Process.Kill()
		<-p.exited
	}
}

// Signal sends a signal to the process, which must run.
func (p *Process) Signal(s syscall.Signal) {
	p.T.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.T.Fatalf("%s: %v", p.Name, err)
	}
}

// Wait waits until the process ends by itself and returns its exit code.
func (p *Process) Wait(limit time.Duration) (code int, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-timer.C:
		return -1, fmt.Errorf("%s has not ended within %v", p.Name, limit)
	}
}

// Output is the output since the last start.
func (p *Process) Output() string {
	raw, err := os.ReadFile(p.LogPath)
	if err != nil {
		return err.Error()
	}
	return string(raw[min(p.began, int64(len(raw))):])
}

// Tail is the end of the output over all starts.
func (p *Process) Tail(lines int) string {
	raw, err := os.ReadFile(p.LogPath)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	return fmt.Sprintf("=== %s, %s:\n%s\n", p.Name, filepath.Base(p.LogPath), bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
