package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrDamaged is the error of a file that differs from the one that was written.
var ErrDamaged = errors.New("the file is damaged")

// Damaged reports whether err says that a file differs from the one that was
// written, in the words of this package or of Pebble.
func Damaged(err error) bool {
	return errors.Is(err, ErrDamaged) || pebble.IsCorruptionError(err) || tableLost(err)
}

// tableLost reports whether err is the answer of [pebble.Open] to a table that was cut, or is
// gone. Pebble has no error for that, only these words (checkConsistency in its open.go).
func tableLost(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "object size mismatch") || strings.Contains(err.Error(), "unknown to the objstorage provider"))
}

// Open is [pebble.Open]. A new database is opened twice: Pebble writes the first log
// of a database in an old format, in which [CheckLogs] and Pebble itself find no
// damage, and the first log of a lightly used one is the only one for a long time.
func Open(dir string, o *pebble.Options) (*pebble.DB, error) {
	found, err := pebble.Peek(dir, o.FS)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !found.Exists {
		db, err := pebble.Open(dir, o)
		if err != nil {
			return nil, err
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
	return pebble.Open(dir, o)
}

// maxLog bounds a write-ahead log or manifest that [CheckLogs] reads into memory.
// Pebble begins a manifest again at 128 MiB, and a log with every memtable.
const maxLog = 256 << 20

// CheckLogs looks for damage in the write-ahead logs and manifests of the instance
// in dir, which must not be open. Pebble takes a damaged record for the end of a
// write that a crash interrupted, unless a later block proves the opposite; it then
// drops the rest of the file without an error. CheckLogs also finds the proof
// within the same block. A record after which nothing was synced proves nothing:
// damage in it cannot be told from a crash. Nor may it prove the record before it:
// Pebble wakes the writer of a record before it notes that the record is synced, and
// the next record may say so of earlier ones only. Pebble also counts too few bytes
// as synced where records are larger than a block, and proves less there.
func CheckLogs(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	manifest := currentManifest(names)
	for _, name := range names {
		number, isLog := strings.CutSuffix(name, ".log")
		if !isLog && name != manifest {
			continue
		}
		raw, err := readLog(fs, fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		c := chunks{raw: raw, synced: isLog}
		if isLog {
			// A log that continues on a second disk has a name like 000002-001.
			number, _, _ = strings.Cut(number, "-")
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				continue // not one of Pebble's
			}
			c.log = uint32(n)
		}
		if c.damaged() {
			return fmt.Errorf("%s: %w", name, ErrDamaged)
		}
	}
	return nil
}

// currentManifest is the name of the manifest in use, which is part of the name of
// its marker: marker.manifest.000003.MANIFEST-000017, the highest number counts.
func currentManifest(names []string) (manifest string) {
	newest := ""
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "marker.manifest."); ok && rest > newest {
			newest = rest
			_, manifest, _ = strings.Cut(rest, ".")
		}
	}
	return manifest
}

func readLog(fs vfs.FS, path string) (raw []byte, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if raw, err = io.ReadAll(io.LimitReader(f, maxLog)); err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return raw, nil
}

// chunks are the content of a log file in Pebble's record format: blocks of 32 KiB
// with chunks of a header and a payload. See the package comment of pebble/record.
type chunks struct {
	raw    []byte
	log    uint32 // number of the log; 0 in a manifest
	synced bool   // each chunk tells the offset up to which the file was synced before it
}

const (
	chunkBlock  = 32 << 10
	plainHeader = 7         // of a chunk in a manifest: checksum:4 size:2 kind:1
	syncHeader  = 7 + 4 + 8 // in a write-ahead log: and log:4 synced:8
	kindWhole   = 1         // a record in one chunk
	kindFirst   = 2         // the first chunk of a record
	kindLast    = 4         // the last chunk of a record
	syncKinds   = 8         // the kinds of a write-ahead log are that much higher
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// at reads the chunk that begins at off. ok is false if none does.
func (c *chunks) at(off int) (kind byte, synced uint64, end int, ok bool) {
	header := plainHeader
	if c.synced {
		header = syncHeader
	}
	limit := min(off-off%chunkBlock+chunkBlock, len(c.raw))
	if off+header > limit {
		return 0, 0, 0, false
	}
	h := c.raw[off:]
	kind = h[6]
	if c.synced {
		kind -= syncKinds
		if binary.LittleEndian.Uint32(h[7:]) != c.log {
			return 0, 0, 0, false
		}
		synced = binary.LittleEndian.Uint64(h[11:])
	}
	end = off + header + int(binary.LittleEndian.Uint16(h[4:]))
	if kind < kindWhole || kind > kindLast || end > limit {
		return 0, 0, 0, false
	}
	sum := crc32.Checksum(c.raw[off+6:end], castagnoli)
	return kind, synced, end, binary.LittleEndian.Uint32(h) == (sum>>15|sum<<17)+0xa282ead8
}

// next is where the chunk after end begins: the rest of a block that is too short
// for a header stays empty.
func (c *chunks) next(end int) int {
	header := plainHeader
	if c.synced {
		header = syncHeader
	}
	if left := chunkBlock - end%chunkBlock; left < header {
		return end + left
	}
	return end
}

// damaged reports whether a chunk is invalid although a later one proves that it
// was written: in a write-ahead log by the offset that it says was synced, in a
// manifest, of which each record is synced before the next, by beginning a record.
func (c *chunks) damaged() bool {
	bad := 0
	for bad < len(c.raw) {
		_, _, end, ok := c.at(bad)
		if !ok {
			break
		}
		bad = c.next(end)
	}
	for off := bad + 1; off < len(c.raw); off++ {
		kind, synced, _, ok := c.at(off)
		if ok && (c.synced && synced > uint64(bad) || !c.synced && kind <= kindFirst) {
			return true
		}
	}
	return false
}

// CheckTable reads the sorted table at path and compares every block with its
// checksum, past Pebble's cache; see [Damaged].
func CheckTable(fs vfs.FS, path string, merger *pebble.Merger) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o := sstable.ReaderOptions{Merger: merger}
	r, err := sstable.NewReader(context.Background(), readable, o)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}
