package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi"
)

// A file that stands in the way of the first start becomes the operator token
// only if a node can have written it.
func TestOperatorTokenFile(t *testing.T) {
	t.Parallel()
	ours := httpapi.NewOperatorToken()
	for _, c := range []struct {
		name, holds string
		mode        os.FileMode
		link        bool
		taken       bool
		says        string
	}{
		{name: "none", taken: true},
		{name: "left by a crash", holds: ours + "\n", mode: 0o600, taken: true},
		{name: "empty", holds: "\n", mode: 0o600, taken: true},
		{name: "anybody's word", holds: "precious\n", mode: 0o600, says: "holds no operator token"},
		{name: "too short", holds: ours[:20] + "\n", mode: 0o600, says: "holds no operator token"},
		{name: "open to others", holds: ours + "\n", mode: 0o644, says: "open to others"},
		{name: "a link", holds: ours + "\n", mode: 0o600, link: true, says: "open to others or a link"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, operatorTokenFile)
		if c.holds != "" {
			file := path
			if c.link {
				file = filepath.Join(t.TempDir(), "elsewhere")
				if err := os.Symlink(file, path); err != nil {
					t.Fatal(err)
				}
			}
			err := os.WriteFile(file, []byte(c.holds), c.mode)
			if err == nil {
				err = os.Chmod(file, c.mode) // the umask of a node's process has nothing for others
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		n := &Node{config: &Config{Node: NodeConfig{DataDir: dir}}, log: slog.New(slog.DiscardHandler)}
		token, err := n.writtenToken()
		if c.taken != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimSpace(c.holds)) {
			t.Errorf("%s: the error repeats the file: %v", c.name, err)
		}
		if err == nil && strings.HasPrefix(c.holds, httpapi.OperatorPrefix) && token != ours {
			t.Errorf("%s: another token", c.name)
		}
	}
}
