package datadir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A file is exposed by any right of its group or of all, and the secrets of a data
// directory are found by it, those of the cluster port too.
func TestExposed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ClusterDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		OperatorTokenFile: 0o640, AdminKeyFile: 0o600, AdminCertFile: 0o644, ClusterDir + "/node.pem": 0o604, ClusterDir + "/other": 0o400, NodeIDFile: 0o666,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got, exposed := Exposed(path); exposed != (mode&0o077 != 0) || exposed && got != mode {
			t.Errorf("%s of mode %04o: %04o, %v", name, mode, got, exposed)
		}
	}
	if got := ExposedSecrets(dir); !slices.Equal(got, []string{OperatorTokenFile, ClusterDir + "/node.pem"}) {
		t.Errorf("%q", got)
	}
	if _, exposed := Exposed(filepath.Join(dir, "none")); exposed || ExposedSecrets(filepath.Join(dir, "none")) != nil {
		t.Error("a file that is not there is exposed")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, OperatorTokenFile), link); err != nil {
		t.Fatal(err)
	}
	if mode, exposed := Exposed(link); !exposed || mode != 0o640 {
		t.Errorf("a link: %04o, %v", mode, exposed)
	}
}
