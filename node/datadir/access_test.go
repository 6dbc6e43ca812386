package datadir_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/perfgate/perfgate/node/datadir"
)

// stranger is a user that owns nothing here, for tests that root runs.
const stranger = 65534

// asStranger opens and checks dir in a process without root's rights.
func asStranger(t *testing.T, dir string) (open, check string, uid int) {
	t.Helper()
	c := exec.Command("/proc/self/exe", "-test.run=^TestAccess$")
	c.Env = append(os.Environ(), "DATADIR_ACCESS="+dir)
	uid = os.Getuid()
	if uid == 0 {
		uid = stranger
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	}
	c.Dir = "/"
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(out), "\n", 3)
	return parts[0], parts[1], uid
}

// An entry that the process may not use is refused at once, with its path, its
// owner and this process's user.
func TestAccess(t *testing.T) {
	if dir := os.Getenv("DATADIR_ACCESS"); dir != "" {
		l, err := datadir.Open(dir)
		if err == nil {
			l.Release()
		}
		fmt.Printf("%v\n%v\n", err, datadir.Check(dir))
		return
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Skip("no /proc")
	}
	for _, c := range []struct {
		name, path string // of the entry without rights, below the temporary directory
		file       bool
		check      bool // Check finds it too
	}{
		{"nothing", "other", false, false},
		{"parent", ".", false, true},
		{"itself", "data", false, true},
		{"state", "data/" + datadir.StateDir, false, true},
		{"a table", "data/" + datadir.LocalDir + "/000004.sst", true, true},
		{"seal", "data/" + datadir.LocalSealFile, true, true},
		{"certificate", "data/cluster/node.crt", true, true},
		{"node id", "data/" + datadir.NodeIDFile, true, true},
		{"lock", "data/" + datadir.LockFile, true, false},
		{"of a volume", "data/lost+found", false, false},
		{"set aside", "data/" + datadir.DamagedPrefix + "x", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			dir, path := filepath.Join(base, "data"), filepath.Join(base, c.path)
			parent := path
			if c.file {
				parent = filepath.Dir(path)
			}
			must(t, os.MkdirAll(dir, 0o777))
			must(t, os.MkdirAll(parent, 0o777))
			if c.file {
				must(t, os.WriteFile(path, nil, 0o666))
			}
			must(t, filepath.WalkDir(base, func(p string, _ os.DirEntry, err error) error {
				return os.Chmod(p, 0o777) // regardless of the umask
			}))
			must(t, os.Chmod(filepath.Dir(base), 0o755))
			must(t, os.Chmod(path, 0))
			defer os.Chmod(path, 0o777)
			open, check, uid := asStranger(t, dir)
			refused := c.name != "nothing" && c.name != "of a volume" && c.name != "set aside"
			want := fmt.Sprintf("%s belongs to uid %d (mode 0000), and perfgate runs as uid %d", path, os.Getuid(), uid)
			if refused != strings.Contains(open, want) || !refused && open != "<nil>" {
				t.Errorf("Open = %s\nwant %q in it: %v", open, want, refused)
			}
			if c.check != strings.Contains(check, want) || !c.check && check != "<nil>" {
				t.Errorf("Check = %s\nwant %q in it: %v", check, want, c.check)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
