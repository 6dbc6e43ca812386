package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// block returns the shell block of the README that contains mark.
func block(t *testing.T, mark string) string {
	t.Helper()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(page), "```sh\n") {
		if code, _, _ := strings.Cut(part, "```"); strings.Contains(code, mark) && code != part {
			return code
		}
	}
	t.Fatalf("README.md has no shell block with %q", mark)
	return ""
}

// freePorts returns three digits that the README's "80", the beginning of all its
// ports, is replaced with: below the ports that the system hands out, and with all
// of the nine ports free.
func freePorts(t *testing.T) string {
	t.Helper()
	for range 100 {
		prefix := fmt.Sprint(200 + rand.IntN(120))
		free := true
		for node := 1; node <= 3 && free; node++ {
			for role := range 3 {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%s%d%d", prefix, node, role))
				if free = free && err == nil; err == nil {
					l.Close()
				}
			}
		}
		if free {
			return prefix
		}
	}
	t.Fatal("no free ports")
	return ""
}

// The block that starts three nodes on one machine is meant to be pasted into a
// shell. Here it runs with other ports.
func TestThreeNodesOfTheReadme(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	dir := t.TempDir()
	if err := os.Symlink(harness.Binary(t), filepath.Join(dir, "perfgate")); err != nil {
		t.Fatal(err)
	}
	code := strings.Replace(block(t, "PERFGATE_JOIN"), "make build\n", "", 1)
	code = strings.ReplaceAll(code, ":80", ":"+freePorts(t))
	ctx, cancel := context.WithTimeout(context.Background(), 2*startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", code+"\nkill $(cat perfgate-data/n?/LOCK)\nwait")
	cmd.Dir, cmd.Env = dir, harness.Environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the nodes are in the group too
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nothing, unless the script failed half-way
	for _, want := range []string{"n1", "n2", "n3", `"path": "/hello"`, `"key_revoked"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		for _, n := range []string{"n1", "n2", "n3"} {
			log, _ := os.ReadFile(filepath.Join(dir, n+".log"))
			t.Logf("%s.log:\n%s", n, log)
		}
		t.Fatalf("%v, %v\n%s\n%s", err, ctx.Err(), code, out)
	}
}
