package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/pack"
)

// retain is how many snapshots are kept: should the newest turn out damaged,
// there is one more.
const retain = 2

// Config says where snapshots live.
type Config struct {
	FS  vfs.FS
	Dir string
	// Options are those that the checkpoints were made with; called for each that
	// is opened.
	Options func() *pebble.Options
	Logger  *slog.Logger
	// Applied reads the state's own index from a checkpoint.
	Applied func(*pebble.DB) (uint64, error)
	// Damaged is called when a snapshot was found damaged and set aside, from any
	// goroutine, under a lock: it must not use the store. nil does nothing.
	Damaged func()
	// Whole is called when a snapshot has been read to its end, and nothing in it was
	// damaged, with its index, from the goroutine that closes it; nil does nothing.
	Whole func(index uint64)
}

// Store is a [raft.SnapshotStore].
type Store struct {
	cfg  Config
	mu   sync.Mutex
	pins map[string]int   // open readers by id: their snapshot stays
	size map[string]int64 // of checkpoints as streams, once counted

	checkpoints checkpoints // locked alone
}

// Open opens the store, creating it if there is none, and removes the remains
// of a crash unfinished.
func Open(c Config) (*Store, error) {
	s := &Store{cfg: c, pins: map[string]int{}, size: map[string]int64{}, checkpoints: checkpoints{open: map[string]*shared{}}}
	if err := c.FS.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open snapshots %q: %w", c.Dir, err)
	}
	names, err := c.FS.List(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open snapshots %q: %w", c.Dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, asideSuffix) {
			continue
		}
		if _, err := c.FS.Stat(s.path(name, metaFile)); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		c.Logger.Info("removing an unfinished snapshot", "id", name)
		if err := c.FS.RemoveAll(s.path(name)); err != nil {
			return nil, fmt.Errorf("remove unfinished snapshot %q: %w", name, err)
		}
	}
	return s, nil
}

func (s *Store) path(elem ...string) string {
	return s.cfg.FS.PathJoin(append([]string{s.cfg.Dir}, elem...)...)
}

// Create begins a snapshot. The caller hands its content over by [Sink.Adopt] or
// writes a stream, and then calls Close or Cancel.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	id := fmt.Sprintf("%016d-%d-%d", index, term, time.Now().UnixNano())
	k := &Sink{store: s, dir: s.path(id), meta: meta{
		Format: metaFormat, ID: id, Index: index, Term: term, Version: int(version),
		Servers: servers(c), ConfigurationIndex: configIndex,
	}}
	if err := s.cfg.FS.MkdirAll(k.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create snapshot %q: %w", id, err)
	}
	return k, nil
}

// List returns the snapshots that can be read, the newest first.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	metas, err := s.metas()
	if err != nil {
		return nil, err
	}
	out := make([]*raft.SnapshotMeta, 0, len(metas))
	for _, m := range metas {
		out = append(out, m.raft())
	}
	return out, nil
}

// Newest returns the newest snapshot's Raft index and the state's own index in
// it; ok is false if there is none. A state on disk that has reached applied
// needs no restore.
func (s *Store) Newest() (index, applied uint64, ok bool, err error) {
	metas, err := s.metas()
	if err != nil || len(metas) == 0 {
		return 0, 0, false, err
	}
	return metas[0].Index, metas[0].Applied, true, nil
}

func (s *Store) metas() ([]*meta, error) {
	names, err := s.cfg.FS.List(s.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots %q: %w", s.cfg.Dir, err)
	}
	var out []*meta
	for _, name := range names {
		if strings.HasSuffix(name, asideSuffix) {
			continue
		}
		m, err := readMeta(s.cfg.FS, s.path(name))
		if errors.Is(err, os.ErrNotExist) {
			continue // being written
		}
		if err != nil {
			s.cfg.Logger.Error("a snapshot cannot be used", "id", name, "error", err)
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *meta) int {
		return cmp.Or(cmp.Compare(b.Index, a.Index), cmp.Compare(b.Term, a.Term), cmp.Compare(b.ID, a.ID))
	})
	return out, nil
}

// Open returns a snapshot as a stream that [NewReader] reads. The snapshot stays
// until the stream is closed.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, err := readMeta(s.cfg.FS, s.path(id))
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot %q: %w", id, err)
	}
	s.pin(id, 1)
	err = s.verify(m)
	var src io.ReadCloser
	if err == nil {
		src, err = s.open(m)
	}
	if err != nil {
		if Damaged(err) {
			s.setAside(id, err)
		}
		s.pin(id, -1)
		return nil, nil, fmt.Errorf("open snapshot %q: %w", id, err)
	}
	return m.raft(), &pinned{ReadCloser: src, release: func(end error) {
		switch {
		case end == nil: // read in part
		case end != io.EOF:
			s.setAside(id, end)
		case s.cfg.Whole != nil:
			s.cfg.Whole(m.Index)
		}
		s.pin(id, -1)
	}}, nil
}

func (s *Store) open(m *meta) (io.ReadCloser, error) {
	if m.Size > 0 {
		f, err := s.cfg.FS.Open(s.path(m.ID, streamFile))
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, f, headerSize); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &joined{Reader: io.MultiReader(bytes.NewReader(header(m.Index)), f), Closer: f}, nil
	}
	r, err := s.checkpoints.rows(s.cfg.Options, s.path(m.ID, checkpoint))
	if err != nil {
		return nil, err
	}
	if err = s.reaches(m, r); err == nil {
		m.Size, err = s.sizeOf(m.ID, r)
	}
	if err == nil {
		err = r.rewind(m.Index)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// reaches compares how far a checkpoint goes with what was written down.
func (s *Store) reaches(m *meta, r *rows) error {
	if s.cfg.Applied == nil {
		return nil
	}
	applied, err := s.cfg.Applied(r.db)
	if err == nil && applied != m.Applied {
		err = fmt.Errorf("%w: its rows reach to index %d, and reached to %d", ErrDamaged, applied, m.Applied)
	}
	return err
}

func (s *Store) sizeOf(id string, r *rows) (int64, error) {
	s.mu.Lock()
	n, ok := s.size[id]
	s.mu.Unlock()
	if ok {
		return n, nil
	}
	n, err := r.size()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.size[id] = n
	s.mu.Unlock()
	return n, nil
}

func (s *Store) pin(id string, n int) {
	s.mu.Lock()
	if s.pins[id] += n; s.pins[id] == 0 {
		delete(s.pins, id)
	}
	s.mu.Unlock()
	if n < 0 {
		s.reap()
	}
}

// reap removes all but the newest snapshots. A failure only costs space and is
// tried again with the next snapshot.
func (s *Store) reap() {
	// Raft ends snapshots of its own, snapshots of a leader, and readers in three
	// goroutines: of two that list the same old snapshot, one would not find it any more.
	s.mu.Lock()
	defer s.mu.Unlock()
	metas, err := s.metas()
	if err != nil {
		s.cfg.Logger.Error("cannot remove old snapshots", "error", err)
		return
	}
	for _, m := range metas[min(retain, len(metas)):] {
		if s.pins[m.ID] > 0 {
			continue
		}
		delete(s.size, m.ID)
		if err := s.remove(m.ID); err != nil {
			s.cfg.Logger.Error("cannot remove an old snapshot", "id", m.ID, "error", err)
		}
	}
}

// RemoveBefore removes the snapshots of before index, if there is one from index on, and
// returns how many are left: they are being read, or there is no newer one. Snapshots that
// were set aside as damaged go too: nobody can look at what they hold.
func (s *Store) RemoveBefore(index uint64) (left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	metas, err := s.metas()
	if err != nil {
		return 0, err
	}
	for _, m := range metas {
		switch {
		case m.Index >= index:
		case s.pins[m.ID] > 0 || metas[0].Index < index:
			left++
		default:
			delete(s.size, m.ID)
			err = errors.Join(err, s.remove(m.ID))
		}
	}
	return left, errors.Join(err, s.removeAside())
}

// remove takes the meta file away first: the remains of a crash then count as
// unfinished.
func (s *Store) remove(id string) error {
	if err := s.cfg.FS.Remove(s.path(id, metaFile)); err != nil {
		return err
	}
	if err := pack.SyncDir(s.cfg.FS, s.path(id)); err != nil {
		return err
	}
	return errors.Join(s.cfg.FS.RemoveAll(s.path(id)), pack.SyncDir(s.cfg.FS, s.cfg.Dir))
}

type joined struct {
	io.Reader
	io.Closer
}

// pinned is a snapshot that is read. It belongs to one goroutine.
type pinned struct {
	io.ReadCloser
	end     error // io.EOF, or the damage that was found
	once    sync.Once
	release func(end error)
}

// Read implements io.Reader.
func (p *pinned) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if err == io.EOF || err != nil && Damaged(err) {
		p.end = err
	}
	return n, err
}

// Close implements io.Closer.
func (p *pinned) Close() error {
	err := p.ReadCloser.Close()
	p.once.Do(func() { p.release(p.end) })
	return err
}
