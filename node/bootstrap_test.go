package node

import (
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
)

func tokenFileIn(dir string) *tokenFile {
	return newTokenFile(&config.Config{Node: config.Node{DataDir: dir}}, slog.New(slog.DiscardHandler))
}

// A file that stands in the way of the first start becomes the operator token
// only if a node can have written it.
func TestOperatorTokenFile(t *testing.T) {
	t.Parallel()
	ours := rest.NewOperatorToken()
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
		path := filepath.Join(dir, datadir.OperatorTokenFile)
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
		token, err := tokenFileIn(dir).written()
		if c.taken != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimSpace(c.holds)) {
			t.Errorf("%s: the error repeats the file: %v", c.name, err)
		}
		if err == nil && strings.HasPrefix(c.holds, rest.OperatorPrefix) && token != ours {
			t.Errorf("%s: another token", c.name)
		}
	}
}

// The token in the data directory goes to other founders only if it is one of the
// cluster's, and they keep it unless they were given one.
func TestOperatorTokenOfFounders(t *testing.T) {
	t.Parallel()
	first, second := tokenFileIn(t.TempDir()), tokenFileIn(t.TempDir())
	token, err := first.written()
	if err != nil {
		t.Fatal(err)
	}
	hash := store.Hash(sha256.Sum256([]byte(token)))
	if got := first.held([]store.Hash{{1}, hash}); got != token {
		t.Errorf("it holds %q", got)
	}
	if got := first.held([]store.Hash{{1}}); got != "" {
		t.Error("a token that is not the cluster's was passed on")
	}
	if got := second.held([]store.Hash{hash}); got != "" {
		t.Errorf("without a file: %q", got)
	}
	if err := second.keep(token); err != nil {
		t.Fatal(err)
	}
	if got := second.held([]store.Hash{hash}); got != token {
		t.Errorf("the second holds %q", got)
	}
	info, err := os.Stat(second.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	third := tokenFileIn(t.TempDir())
	third.given = true
	if err := third.keep(token); err != nil {
		t.Fatal(err)
	}
	if got := third.held([]store.Hash{hash}); got != "" {
		t.Errorf("a node that was given a token wrote %q", got)
	}
}
