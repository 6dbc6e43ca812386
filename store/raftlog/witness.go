package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/pack"
)

// Witness says how far the log reached, in a file outside of it. Without it, a log whose
// end is lost (a file was cut, or an older directory was put back) looks like one after
// a crash, and its node would vote for leaders that lack entries which it acknowledged.
//
// Every durable commit has a number, which is in the commit itself. After the commit is
// durable, the witness is overwritten in place, without an fsync: the number in it is
// never ahead of the log. It survives the end of the process at once, and that of the
// machine a little later. A witness that is ahead of the log proves that the log is not
// the one that was written.
type Witness struct {
	Commits uint64 // number of the newest commit
	Index   uint64 // of the log's last entry after it
	Command uint64 // of the newest entry that is a command; 0 where none was seen since the start
	Term    uint64 // of the log's last entry
}

// The file: magic 4, the four numbers, CRC-32C of all of it. It fits in one sector.
const (
	witnessMagic = "PGW1"
	witnessSize  = 4 + 4*8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (w Witness) encode() []byte {
	b := []byte(witnessMagic)
	for _, n := range []uint64{w.Commits, w.Index, w.Command, w.Term} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeWitness(raw []byte) (w Witness, ok bool) {
	if len(raw) != witnessSize || string(raw[:4]) != witnessMagic ||
		crc32.Checksum(raw[:witnessSize-4], castagnoli) != binary.BigEndian.Uint32(raw[witnessSize-4:]) {
		return w, false
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(raw[4+8*i:]) }
	return Witness{n(0), n(1), n(2), n(3)}, true
}

// ReadWitness reads the witness at path; ok is false if there is none, or none that can be
// read.
func ReadWitness(fs vfs.FS, path string) (w Witness, ok bool, err error) {
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return w, false, nil
	}
	if err != nil {
		return w, false, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, witnessSize+1))
	w, ok = decodeWitness(raw)
	return w, ok, errors.Join(err, f.Close())
}

// commitsKey holds the number of the newest commit, in each commit.
var commitsKey = []byte{'w'}

// commits numbers the commits of a log. One is under way at a time, so that their order
// in the log is that of their numbers.
type commits struct {
	last Witness  // of the newest commit that is durable; guarded by Log.order
	file vfs.File // nil without a witness
	path string
}

// openWitness compares the log with its witness, and begins to keep one.
func (l *Log) openWitness(c *Config) error {
	v, closer, err := l.db.Get(commitsKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound): // new, or of an earlier version
	case err != nil:
		return fmt.Errorf("read the number of commits: %w", err)
	default:
		if len(v) == 8 {
			l.commits.last.Commits = binary.BigEndian.Uint64(v)
		}
		if err := closer.Close(); err != nil {
			return err
		}
	}
	if c.Witness == "" {
		return nil
	}
	w, ok, err := ReadWitness(c.Plain, c.Witness)
	if err != nil {
		return fmt.Errorf("read the witness of the log %q: %w", c.Witness, err)
	}
	if !ok {
		c.Logger.Info("the raft log gets a witness of its end", "file", c.Witness)
	}
	if have := l.commits.last.Commits; ok && w.Commits > have {
		return fmt.Errorf("its end is lost (it holds %d commits up to index %d; by %q it held %d up to index %d): %w: %s",
			have, l.last.Load(), c.Witness, w.Commits, w.Index, disk.ErrDamaged, advice)
	}
	if ok && w.Commits == l.commits.last.Commits {
		l.commits.last = w
	}
	l.commits.last.Index = l.last.Load()
	if err := pack.WriteFile(c.Plain, c.Witness, l.commits.last.encode()); err != nil {
		return fmt.Errorf("write the witness of the log %q: %w", c.Witness, err)
	}
	l.commits.path = c.Witness
	l.commits.file, err = c.Plain.OpenReadWrite(c.Witness, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("open the witness of the log %q: %w", c.Witness, err)
	}
	return nil
}

// commit makes b durable, with its number in it, and notes it in the witness. change sees
// the witness of the commit before.
func (l *Log) commit(b *pebble.Batch, change func(*Witness)) error {
	l.order.Lock()
	defer l.order.Unlock()
	w := l.commits.last
	w.Commits++
	if change != nil {
		change(&w)
	}
	if err := b.Set(commitsKey, binary.BigEndian.AppendUint64(nil, w.Commits), nil); err != nil {
		return fmt.Errorf("number a commit: %w", err)
	}
	if err := l.guard.Commit(b, pebble.Sync); err != nil {
		return err
	}
	l.commits.last = w
	if l.commits.file == nil {
		return nil
	}
	if _, err := l.commits.file.WriteAt(w.encode(), 0); err != nil {
		// One that stays behind proves less, and nothing wrong.
		l.log.Error("the raft log has no witness of its end any more", "file", l.commits.path, "error", err)
		_ = l.commits.close()
		l.commits.file = nil
	}
	return nil
}

func (c *commits) close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
