package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Identity is who this node is to the others. Both parts live in the data
// directory and nowhere else: a node that lost its disk is a new one, and must
// not vote or hold leases in the old one's name.
type Identity struct {
	ID string // 16 random bytes in hexadecimal, for as long as the directory lives
	// Boot counts the starts. A higher one tells the others that the process with
	// the lower one is dead.
	Boot uint64
}

// Files of the identity, in the data directory.
const (
	idFile   = "node-id"
	bootFile = "boot"
)

var idForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// OpenIdentity reads the identity in dir, makes one if there is none, and counts
// this start. The directory must be locked. When it returns, the new count is
// durable, so that no two processes ever use the same one.
func OpenIdentity(fs vfs.FS, dir string) (Identity, error) {
	id, err := readLine(fs, fs.PathJoin(dir, idFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		var raw [16]byte
		rand.Read(raw[:])
		id = hex.EncodeToString(raw[:])
		if err := writeFile(fs, dir, idFile, id); err != nil {
			return Identity{}, fmt.Errorf("write node id: %w", err)
		}
	case err != nil:
		return Identity{}, fmt.Errorf("read node id: %w", err)
	case !idForm.MatchString(id):
		return Identity{}, fmt.Errorf("%s holds %q, which is no node id: the data directory is damaged", fs.PathJoin(dir, idFile), id)
	}
	n := uint64(0)
	last, err := readLine(fs, fs.PathJoin(dir, bootFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return Identity{}, fmt.Errorf("read boot counter: %w", err)
	default:
		if n, err = strconv.ParseUint(last, 10, 64); err != nil {
			return Identity{}, fmt.Errorf("%s holds %q, which is no number: the data directory is damaged", fs.PathJoin(dir, bootFile), last)
		}
	}
	n++
	if err := writeFile(fs, dir, bootFile, strconv.FormatUint(n, 10)); err != nil {
		return Identity{}, fmt.Errorf("count this start: %w", err)
	}
	return Identity{ID: id, Boot: n}, nil
}

// maxLine bounds the files that hold one word.
const maxLine = 256

func readLine(fs vfs.FS, name string) (string, error) {
	f, err := fs.Open(name)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxLine))
	return strings.TrimSuffix(string(raw), "\n"), errors.Join(err, f.Close())
}

// writeFile replaces a file whole: after a crash it is the old or the new one.
func writeFile(fs vfs.FS, dir, name, line string) error {
	tmp := fs.PathJoin(dir, name+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(line + "\n"))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, fs.PathJoin(dir, name)); err != nil {
		return err
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
