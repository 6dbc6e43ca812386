package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/pack"
)

// Sink takes the content of a snapshot. It is a [raft.SnapshotSink].
type Sink struct {
	store  *Store
	dir    string
	meta   meta
	stream vfs.File
	buf    bytes.Buffer // of the stream, not yet written
	whole  bool         // Adopt succeeded
	ended  bool
}

// bufferSize bounds the bytes that a sink holds back.
const bufferSize = 1 << 20

// ID names the snapshot.
func (k *Sink) ID() string { return k.meta.ID }

// Index is the Raft index of the snapshot.
func (k *Sink) Index() uint64 { return k.meta.Index }

// Adopt takes the Pebble checkpoint in dir, on the same file system, as the
// snapshot's content. applied is the state's own index in it. The checkpoint,
// and the state that it was made of up to applied, must be durable.
//
// It refuses a checkpoint that is ahead of the snapshot's index, as one taken
// while the log is still being replayed is: a node that restores it would skip
// entries that come after.
func (k *Sink) Adopt(dir string, applied uint64) error {
	if applied > k.meta.Index {
		return fmt.Errorf("snapshot %s: the state is at %d, ahead of it; it can be taken when the log has been replayed", k.meta.ID, applied)
	}
	fs := k.store.cfg.FS
	if err := fs.Rename(dir, fs.PathJoin(k.dir, checkpoint)); err != nil {
		return fmt.Errorf("snapshot %s: %w", k.meta.ID, err)
	}
	k.meta.Applied, k.whole = applied, true
	return nil
}

// Write appends to the stream of a snapshot that comes from elsewhere.
func (k *Sink) Write(p []byte) (int, error) {
	if k.stream == nil {
		f, err := k.store.cfg.FS.Create(k.store.cfg.FS.PathJoin(k.dir, streamFile), vfs.WriteCategoryUnspecified)
		if err != nil {
			return 0, fmt.Errorf("snapshot %s: %w", k.meta.ID, err)
		}
		k.stream = f
	}
	k.buf.Write(p)
	k.meta.Size += int64(len(p))
	if k.buf.Len() >= bufferSize {
		if err := k.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (k *Sink) flush() error {
	_, err := k.stream.Write(k.buf.Bytes())
	k.buf.Reset()
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", k.meta.ID, err)
	}
	return nil
}

// Close finishes the snapshot: it returns nil only when it is whole, checked and
// durable. On an error nothing of it is left.
func (k *Sink) Close() error {
	if k.ended {
		return nil
	}
	k.ended = true
	err := k.finish()
	if err != nil {
		return errors.Join(fmt.Errorf("finish snapshot %s: %w", k.meta.ID, err), k.store.cfg.FS.RemoveAll(k.dir))
	}
	k.store.reap()
	return nil
}

func (k *Sink) finish() error {
	fs := k.store.cfg.FS
	switch {
	case k.stream != nil:
		err := k.flush()
		if err == nil {
			err = k.stream.Sync()
		}
		if err := errors.Join(err, k.stream.Close()); err != nil {
			return err
		}
		if err := k.check(); err != nil {
			return err
		}
		// Raft counts every entry up to the snapshot's index as part of it.
		k.meta.Applied = k.meta.Index
	case !k.whole:
		return errors.New("it has no content")
	}
	var err error
	if k.meta.Files, err = describe(fs, k.dir); err != nil {
		return err
	}
	// The directory and its entry in the parent come before the meta file that
	// vouches for them.
	if err := errors.Join(pack.SyncDir(fs, k.dir), pack.SyncDir(fs, k.store.cfg.Dir)); err != nil {
		return err
	}
	// From its meta file on, newer snapshots that end beside it may have it removed.
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	return writeMeta(fs, k.dir, &k.meta)
}

// check reads the stream that was received from its beginning to its end. Raft
// ends the process when a restore fails, so it has to be refused before.
func (k *Sink) check() (err error) {
	fs := k.store.cfg.FS
	f, err := fs.Open(fs.PathJoin(k.dir, streamFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, err := NewReader(f)
	if err != nil {
		return err
	}
	if r.Index() > k.meta.Index {
		return fmt.Errorf("its rows reach to index %d, beyond its own %d", r.Index(), k.meta.Index)
	}
	rows := 0
	for ; err == nil; rows++ {
		_, _, err = r.Next()
	}
	switch {
	case err != io.EOF:
		return err
	case rows == 1: // the one that was the end
		return fmt.Errorf("%w: it has no rows, up to index %d", ErrDamaged, r.Index())
	}
	return nil
}

// Cancel drops the snapshot.
func (k *Sink) Cancel() error {
	if k.ended {
		return nil
	}
	k.ended = true
	var err error
	if k.stream != nil {
		err = k.stream.Close()
	}
	return errors.Join(err, k.store.cfg.FS.RemoveAll(k.dir))
}
