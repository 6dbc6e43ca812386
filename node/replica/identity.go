package replica

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

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/pack"
)

// Identity tells this node from the others. Both parts live in the data
// directory and nowhere else: a node that lost its disk is a new one, and must
// not vote or hold leases as the old one.
type Identity struct {
	ID string // 16 random bytes in hexadecimal, for as long as the directory lives
	// Boot counts the starts. A higher one tells the others that the process with
	// the lower one is dead.
	Boot uint64
}

var idForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// OpenIdentity reads the identity in dir, makes one if there is none, and counts
// this start. The directory must be locked. When it returns, the new count is
// durable, so that no two processes ever use the same one.
func OpenIdentity(fs vfs.FS, dir string) (Identity, error) {
	return openIdentity(fs, dir, Identity{})
}

// openIdentity is [OpenIdentity] for a node whose log notes that it was marked, the zero
// identity if it notes nothing. The log is checked for damage as a whole, so that it is
// right where the files differ.
func openIdentity(fs vfs.FS, dir string, marked Identity) (Identity, error) {
	id, err := ReadLine(fs, fs.PathJoin(dir, datadir.NodeIDFile))
	damaged := err == nil && !idForm.MatchString(id)
	switch {
	case marked.ID != "" && (errors.Is(err, os.ErrNotExist) || damaged || err == nil && id != marked.ID):
		id = marked.ID
		if err := WriteLine(fs, dir, datadir.NodeIDFile, id); err != nil {
			return Identity{}, fmt.Errorf("write node id: %w", err)
		}
	case errors.Is(err, os.ErrNotExist):
		var raw [16]byte
		rand.Read(raw[:])
		id = hex.EncodeToString(raw[:])
		if err := WriteLine(fs, dir, datadir.NodeIDFile, id); err != nil {
			return Identity{}, fmt.Errorf("write node id: %w", err)
		}
	case err != nil:
		return Identity{}, fmt.Errorf("read node id: %w", err)
	case damaged:
		return Identity{}, &Damage{datadir.NodeIDFile, fmt.Errorf("%s holds %q, which is no node id: the data directory is damaged", fs.PathJoin(dir, datadir.NodeIDFile), id)}
	}
	n := uint64(0)
	last, err := ReadLine(fs, fs.PathJoin(dir, datadir.BootFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return Identity{}, fmt.Errorf("read boot counter: %w", err)
	default:
		if n, err = strconv.ParseUint(last, 10, 64); err != nil && marked.Boot == 0 {
			return Identity{}, &Damage{datadir.BootFile, fmt.Errorf("%s holds %q, which is no number: the data directory is damaged", fs.PathJoin(dir, datadir.BootFile), last)}
		}
	}
	if marked.Boot > 0 && n > marked.Boot+bootsAhead { // damaged the other way, or no number at all
		n = marked.Boot
	}
	n = max(n, marked.Boot) + 1
	if err := WriteLine(fs, dir, datadir.BootFile, strconv.FormatUint(n, 10)); err != nil {
		return Identity{}, fmt.Errorf("count this start: %w", err)
	}
	return Identity{ID: id, Boot: n}, nil
}

// bootsAhead is by how many starts the file may be ahead of the log: those that ended
// before the log was marked.
const bootsAhead = 1 << 20

// maxLine bounds the files that hold one word.
const maxLine = 256

// ReadLine reads a file that holds one line of at most maxLine bytes.
func ReadLine(fs vfs.FS, name string) (string, error) {
	f, err := fs.Open(name)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxLine))
	return strings.TrimSuffix(string(raw), "\n"), errors.Join(err, f.Close())
}

// WriteLine replaces a file whole by one line; see [pack.WriteFile].
func WriteLine(fs vfs.FS, dir, name, line string) error {
	return pack.WriteFile(fs, fs.PathJoin(dir, name), []byte(line+"\n"))
}
