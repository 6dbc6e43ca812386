package peers

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/perfgate/perfgate/e2e/harness"
)

const (
	enabledVar = "PERFGATE_E2E_PEERS"
	insideVar  = "PEERS_INSIDE" // set in the namespaces
)

func TestMain(m *testing.M) {
	flag.Parse()
	switch addr := os.Getenv(upstreamVar); {
	case addr != "":
		fmt.Fprintln(os.Stderr, "upstream:", serveUpstream(addr))
		os.Exit(1)
	case os.Getenv(enabledVar) == "":
	case os.Getenv(insideVar) != "":
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Geteuid() == 0:
		code, err := inNamespaces()
		if err == nil {
			os.Exit(code)
		}
		fmt.Fprintf(os.Stderr, "without a network of its own: %v\n", err)
	}
	harness.Main(m)
}

// inNamespaces runs the tests in a network of their own and returns their exit code.
// Their processes are a group that the kernel ends with the first of them: workers of
// nginx would survive a test that is killed. perfgate is built before, since modules may
// have to be loaded.
func inNamespaces() (int, error) {
	dir, err := os.MkdirTemp("", "perfgate-peers-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary := os.Getenv("PERFGATE_BINARY")
	if binary == "" {
		binary = filepath.Join(dir, "perfgate")
		if err := harness.Build(binary, ".", "github.com/perfgate/perfgate"); err != nil {
			return 0, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"=1", "PERFGATE_BINARY="+binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	if err := harness.Spawn(cmd); err != nil {
		return 0, err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, nil // ended by a signal
}

// furnish gives the new namespaces a loopback interface that is up, and a /proc.
func furnish() error {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
