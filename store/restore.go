package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/snapshot"
)

// restoreTable is how many bytes of rows go into one table.
const restoreTable = 64 << 20

// beyondRows sorts after every row: tables are named by ASCII letters.
var beyondRows = []byte{0xff}

// Restore implements [raft.FSM]: it replaces the whole state by the rows of a
// stream that [snapshot.Reader] reads. The rows are written to tables beside the
// database first; one operation then takes out everything that was there and
// puts them in its place. A crash leaves the old state or the new one, and a
// stream that turns out damaged changes nothing.
//
// The new state's applied index is the snapshot's, not that of its newest
// command: Raft counts every entry up to it as contained. The fingerprint of what was applied
// is part of the row, and stays.
func (s *Store) Restore(src io.ReadCloser) error {
	if err := s.restore(src, restoreTable); err != nil {
		return fmt.Errorf("restore the state: %w", err)
	}
	return nil
}

func (s *Store) restore(src io.Reader, tableBytes int) (err error) {
	fs, dir := s.cfg.FS, s.cfg.Dir+".restore"
	if err := errors.Join(fs.RemoveAll(dir), fs.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fs.RemoveAll(dir)) }()
	o, _ := options(&s.cfg)
	o.EnsureDefaults()
	w := &tables{fs: fs, dir: dir, limit: tableBytes, options: o, format: s.db.TableFormat()}
	if err := w.copy(src); err != nil {
		return errors.Join(err, w.close())
	}
	if err := s.db.Flush(); err != nil { // not while reads wait
		return err
	}
	s.restoring.Store(true)
	defer s.restoring.Store(false)
	if err := s.replace(w.paths); err != nil {
		return err
	}
	return s.reload()
}

// tables writes ascending rows into as many tables as they need.
type tables struct {
	fs      vfs.FS
	dir     string
	limit   int // bytes of rows in one table
	options *pebble.Options
	format  sstable.TableFormat
	paths   []string
	w       *sstable.Writer
	size    int
}

func (t *tables) copy(src io.Reader) error {
	r, err := snapshot.NewReader(src)
	if err != nil {
		return err
	}
	applied := binary.BigEndian.AppendUint64(nil, r.Index())
	written := false
	for {
		key, value, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		// The applied index may be missing: a state without any command has none.
		switch c := bytes.Compare(key, appliedRow); {
		case c == 0:
			_, print, err := unpackApplied(value)
			if err != nil {
				return err
			}
			value, written = packApplied(r.Index(), &print), true
		case c > 0 && !written:
			if err := t.add(appliedRow, applied); err != nil {
				return err
			}
			written = true
		}
		if err := t.add(key, value); err != nil {
			return err
		}
	}
	if !written {
		if err := t.add(appliedRow, applied); err != nil {
			return err
		}
	}
	return t.close()
}

func (t *tables) add(key, value []byte) error {
	if bytes.Compare(key, beyondRows) >= 0 {
		return fmt.Errorf("row %x belongs to no table", key)
	}
	if t.w == nil {
		name := t.fs.PathJoin(t.dir, fmt.Sprintf("%06d.sst", len(t.paths)))
		f, err := t.fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		const bottom = 6 // where the rows end up, with that level's filters
		o := t.options.MakeWriterOptions(bottom, t.format)
		o.DisableValueBlocks = true // as the span policy of options says
		t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), o)
		t.paths = append(t.paths, name)
	}
	if err := t.w.Set(key, value); err != nil {
		return err
	}
	if t.size += len(key) + len(value); t.size >= t.limit {
		return t.close()
	}
	return nil
}

// close ends the table being written; the writer fsyncs it.
func (t *tables) close() error {
	if t.w == nil {
		return nil
	}
	err := t.w.Close()
	t.w, t.size = nil, 0
	return err
}
