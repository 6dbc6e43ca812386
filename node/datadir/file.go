package datadir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/pack"
)

// ReadFile reads a file of at most max bytes, in the data directory or wherever
// the configuration names one.
func ReadFile(path string, max int64) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(raw)) > max {
		err = fmt.Errorf("it is larger than %d bytes", max)
	}
	return raw, err
}

// WriteFile replaces a file whole, mode 0600; see [pack.WriteFile].
func WriteFile(path string, data []byte) error {
	if err := pack.WriteFile(vfs.Default, path, data); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

// Reason is err without the path, for a sentence that names the path already.
func Reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
