package node

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
)

// maxTokenFile bounds the file of the operator token, in bytes.
const maxTokenFile = 4 << 10

// tokenFile is the file of the operator token in the data directory. The node that
// makes a cluster writes it; nodes that found the cluster with it get a copy. It may
// be read and written before the state is open, from any goroutine.
type tokenFile struct {
	path  string
	given bool // PERFGATE_OPERATOR_TOKEN is set: the operator keeps the token elsewhere
	log   *slog.Logger
}

func newTokenFile(c *config.Config, log *slog.Logger) *tokenFile {
	return &tokenFile{filepath.Join(c.Node.DataDir, datadir.OperatorTokenFile), c.OperatorToken() != "", log}
}

// written returns the token in the file, created if there is none.
func (f *tokenFile) written() (string, error) {
	raw, err := datadir.ReadFile(f.path, maxTokenFile)
	if err == nil && strings.TrimSpace(string(raw)) != "" {
		return foundToken(f.path, strings.TrimSpace(string(raw)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the operator token: %w", err)
	}
	token := rest.NewOperatorToken()
	if err := datadir.WriteFile(f.path, []byte(token+"\n")); err != nil {
		return "", fmt.Errorf("write the operator token: %w", err)
	}
	f.log.Info("operator token written", "file", f.path)
	return token, nil
}

// held is the token in the file, "" unless its hash is one of hashes.
func (f *tokenFile) held(hashes []store.Hash) string {
	raw, err := datadir.ReadFile(f.path, maxTokenFile)
	token := strings.TrimSpace(string(raw))
	if err != nil || !slices.Contains(hashes, store.Hash(sha256.Sum256([]byte(token)))) {
		return ""
	}
	return token
}

// keep writes the operator token of a cluster that this node founds with others:
// its operator need not know which of them was the first.
func (f *tokenFile) keep(token string) error {
	if f.given {
		return nil
	}
	if err := datadir.WriteFile(f.path, []byte(token+"\n")); err != nil {
		return fmt.Errorf("write the operator token: %w", err)
	}
	f.log.Info("operator token written", "file", f.path)
	return nil
}

// foundToken checks a token that was in the data directory: it gets all rights, so it
// must have the form of a node's token, in a file that only the node's user can
// read and write.
func foundToken(path, token string) (string, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the operator token: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s exists before the first start and is open to others or a link; remove it, or make it a file of mode 0600", path)
	case !strings.HasPrefix(token, rest.OperatorPrefix) || len(token) != len(rest.NewOperatorToken()):
		return "", fmt.Errorf("%s exists before the first start and holds no operator token of perfgate; remove it", path)
	}
	return token, nil
}
