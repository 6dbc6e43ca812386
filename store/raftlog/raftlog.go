package raftlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/disk"
)

// ErrNotFound is the answer for a value that was never set. Raft compares its
// text, so it must be exactly this.
var ErrNotFound = errors.New("not found")

// memTable bounds the write buffer, and with it the part that a start replays from
// Pebble's own log: two of them at most.
const memTable = 8 << 20

// Config says where the log lives.
type Config struct {
	FS     vfs.FS
	Dir    string
	Cache  *pebble.Cache // shared; nil for one of its own
	Logger *slog.Logger
	// Fatal is called once when the log can no longer be trusted; see [disk.GuardConfig].
	Fatal func(error)
	// Witness is the file of the [Witness], on the file system Plain; "" keeps none.
	Witness string
	Plain   vfs.FS
}

// Log is a [raft.LogStore], [raft.MonotonicLogStore] and [raft.StableStore]. Its
// methods may be called concurrently. Entries are stored by one goroutine at a
// time; Raft's snapshots remove the oldest entries meanwhile.
type Log struct {
	db    *pebble.DB
	fs    vfs.FS
	dir   string
	guard *disk.Guard
	log   *slog.Logger
	// bounds is held while first and last are set, after the commit that changes
	// them. Without it, a removal could read the keys, a StoreLogs commit and set
	// last, and the removal then set last back.
	bounds      sync.Mutex
	first, last atomic.Uint64 // 0 while empty
	ahead       readAhead
	recent      recent
	order       sync.Mutex // held during a commit
	commits     commits
}

// advice ends the error of a damaged log.
const advice = "acknowledged changes may be missing from it; empty the data directory and let the node join its cluster again, or restore a backup"

// Open opens the log, creating it if there is none. A log that is not whole is a
// [disk.Damaged] error.
func Open(c Config) (*Log, error) {
	l := &Log{fs: c.FS, dir: c.Dir, log: c.Logger, guard: disk.NewGuard(disk.GuardConfig{Name: fmt.Sprintf("raft log %q", c.Dir), Logger: c.Logger, Fatal: c.Fatal})}
	o := &pebble.Options{
		FS:                 c.FS,
		Cleaner:            disk.Cleaner{},
		Cache:              c.Cache,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       memTable,
		// Entries are removed from the front, in ranges, soon after they were written:
		// whole tables go without having been compacted, if they are left in peace.
		L0CompactionThreshold: 16,
		L0StopWritesThreshold: 64,
	}
	l.guard.Watch(o)
	if err := disk.CheckLogs(c.FS, c.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open raft log %q: %w: %s", c.Dir, err, advice)
	}
	db, err := disk.Open(c.Dir, o)
	if err != nil {
		return nil, fmt.Errorf("open raft log %q: %w", c.Dir, err)
	}
	l.db = db
	if err := l.findBounds(); err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log %q: %w", c.Dir, err), db.Close())
	}
	if err := l.openWitness(&c); err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log %q: %w", c.Dir, err), db.Close())
	}
	return l, nil
}

// Close closes the log. No call may be under way.
func (l *Log) Close() error { return errors.Join(l.db.Close(), l.commits.close()) }

// Roll makes Pebble begin a new log of its own, and a table of what is in the old one.
func (l *Log) Roll() error {
	if err := l.db.Flush(); err != nil {
		return fmt.Errorf("flush the raft log: %w", err)
	}
	return nil
}

// Compact takes the entries that were removed from the disk. It fails with [disk.ErrHeld] while a
// reader holds them.
func (l *Log) Compact(ctx context.Context) error {
	if err := disk.Purge(ctx, &disk.Purged{DB: l.db, Guard: l.guard, FS: l.fs, Dir: l.dir, From: []byte{0}, To: []byte{0xff}}); err != nil {
		return fmt.Errorf("compact the raft log: %w", err)
	}
	return nil
}

// IsMonotonic tells Raft to remove all entries when it restores a snapshot that
// does not follow them, instead of leaving a gap.
func (l *Log) IsMonotonic() bool { return true }

// FirstIndex is the index of the oldest entry, 0 if there is none.
func (l *Log) FirstIndex() (uint64, error) { return l.first.Load(), nil }

// LastIndex is the index of the newest entry, 0 if there is none.
func (l *Log) LastIndex() (uint64, error) { return l.last.Load(), nil }

// GetLog reads one entry; an absent one is [raft.ErrLogNotFound]. Entries asked
// for in sequence are read ahead.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	if index < l.first.Load() || index > l.last.Load() {
		return raft.ErrLogNotFound
	}
	if l.recent.get(index, out) {
		return nil
	}
	return l.ahead.get(l.db, index, out)
}

// StoreLog stores one entry durably.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs stores all entries or none, with one fsync. An error means that it
// is not known whether they are there; no later call succeeds.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	b := l.db.NewBatch()
	defer b.Close()
	first, last := uint64(math.MaxUint64), uint64(0)
	var buf []byte
	var command, term uint64
	for _, e := range entries {
		key := entryKey(e.Index)
		buf = appendEntry(buf[:0], e)
		if err := b.Set(key[:], buf, nil); err != nil {
			return fmt.Errorf("store log entry %d: %w", e.Index, err)
		}
		first, last, term = min(first, e.Index), max(last, e.Index), e.Term
		if e.Type == raft.LogCommand {
			command = e.Index
		}
	}
	if err := l.commit(b, func(w *Witness) { w.Index, w.Command, w.Term = last, max(w.Command, command), term }); err != nil {
		return err
	}
	l.ahead.drop()
	l.recent.add(entries)
	l.bounds.Lock()
	defer l.bounds.Unlock()
	if f := l.first.Load(); f == 0 || first < f {
		l.first.Store(first)
	}
	l.last.Store(max(last, l.last.Load()))
	return nil
}

// DeleteRange removes the entries from first to last, both included.
func (l *Log) DeleteRange(first, last uint64) error {
	if first > last {
		return nil
	}
	from, to := entryKey(first), entryEnd()
	if last < math.MaxUint64 {
		next := entryKey(last + 1)
		to = next[:]
	}
	return l.erase(from[:], to)
}

// Reset removes everything, Raft's own values included.
func (l *Log) Reset() error { return l.erase([]byte{0}, []byte{0xff}) }

func (l *Log) erase(from, to []byte) error {
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(from, to, nil); err != nil {
		return fmt.Errorf("delete log entries: %w", err)
	}
	if err := l.commit(b, nil); err != nil {
		return err
	}
	l.ahead.drop()
	l.recent.drop()
	return l.findBounds()
}

// Set stores one of Raft's values, or a mark of the node's own, durably.
func (l *Log) Set(key, value []byte) error {
	b := l.db.NewBatch()
	defer b.Close()
	if err := b.Set(valueKey(key), value, nil); err != nil {
		return fmt.Errorf("set %q: %w", key, err)
	}
	return l.commit(b, nil)
}

// Get reads what Set stored, or ErrNotFound.
func (l *Log) Get(key []byte) ([]byte, error) {
	v, closer, err := l.db.Get(valueKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	out := append([]byte{}, v...)
	return out, closer.Close()
}

// SetUint64 stores a number as 8 bytes, big-endian.
func (l *Log) SetUint64(key []byte, v uint64) error {
	return l.Set(key, binary.BigEndian.AppendUint64(nil, v))
}

// GetUint64 reads a number, or ErrNotFound.
func (l *Log) GetUint64(key []byte) (uint64, error) {
	v, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("get %q: %d bytes are not a number", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// findBounds reads the first and last index from the keys.
func (l *Log) findBounds() (err error) {
	l.bounds.Lock()
	defer l.bounds.Unlock()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{entryPrefix}, UpperBound: entryEnd()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var first, last uint64
	if it.First() {
		if first, err = entryIndex(it.Key()); err != nil {
			return err
		}
	}
	if it.Last() {
		if last, err = entryIndex(it.Key()); err != nil {
			return err
		}
	}
	l.first.Store(first)
	l.last.Store(last)
	return it.Error()
}

const (
	entryPrefix = 'l'
	valuePrefix = 's'
)

func entryKey(index uint64) (k [9]byte) {
	k[0] = entryPrefix
	binary.BigEndian.PutUint64(k[1:], index)
	return k
}

// entryEnd is the key after every entry's.
func entryEnd() []byte { return []byte{entryPrefix + 1} }

func entryIndex(key []byte) (uint64, error) {
	if len(key) != 9 || key[0] != entryPrefix {
		return 0, fmt.Errorf("key %x is not a log entry's", key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func valueKey(key []byte) []byte { return append([]byte{valuePrefix}, key...) }

// readAhead serves a reader that asks for one entry after the other, as Raft
// does at start and when it feeds a follower: a scan costs a tenth of as many
// point lookups.
type readAhead struct {
	mu      sync.Mutex
	prev    uint64 // the index asked for last
	start   uint64 // index of entries[0]
	entries []raft.Log
}

// Bounds of the entries held ahead.
const (
	aheadEntries = 256
	aheadBytes   = 1 << 20
)

func (r *readAhead) get(db *pebble.DB, index uint64, out *raft.Log) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	sequential := index == r.prev+1
	r.prev = index
	if i := index - r.start; index >= r.start && i < uint64(len(r.entries)) {
		*out = r.entries[i]
		return nil
	}
	if !sequential {
		return getOne(db, index, out)
	}
	if err := r.fill(db, index); err != nil {
		return err
	}
	if len(r.entries) == 0 {
		return raft.ErrLogNotFound
	}
	*out = r.entries[0]
	return nil
}

func (r *readAhead) fill(db *pebble.DB, index uint64) (err error) {
	r.start, r.entries = index, r.entries[:0]
	from := entryKey(index)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from[:], UpperBound: entryEnd()})
	if err != nil {
		return fmt.Errorf("read log entry %d: %w", index, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	size := 0
	for ok := it.First(); ok && len(r.entries) < aheadEntries && size < aheadBytes; ok = it.Next() {
		want := index + uint64(len(r.entries))
		if got, err := entryIndex(it.Key()); err != nil {
			return err
		} else if got != want {
			break // a gap
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read log entry %d: %w", want, err)
		}
		var e raft.Log
		if err := decodeEntry(v, &e); err != nil {
			return fmt.Errorf("read log entry %d: %w", want, err)
		}
		r.entries = append(r.entries, e)
		size += len(v)
	}
	return it.Error()
}

func (r *readAhead) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = nil
}

func getOne(db *pebble.DB, index uint64, out *raft.Log) error {
	key := entryKey(index)
	v, closer, err := db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return fmt.Errorf("read log entry %d: %w", index, err)
	}
	if err := decodeEntry(v, out); err != nil {
		return errors.Join(fmt.Errorf("read log entry %d: %w", index, err), closer.Close())
	}
	return closer.Close()
}
