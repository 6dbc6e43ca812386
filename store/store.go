package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config says where a store lives. Zero values get the defaults that are named.
type Config struct {
	FS         vfs.FS        // the operating system's by default
	Dir        string        // made if it does not exist
	Cache      *pebble.Cache // block cache, shared with the other instances; 8 MiB of its own by default
	CacheBytes int64         // bound of the record cache; 192 MiB by default, about 1.1 million keys
	Logger     *slog.Logger  // none by default
	// Fatal is told, perhaps more than once and from any goroutine, what makes it
	// impossible to go on: a failed write, a damaged file, a command of a newer
	// version. The node must stop; the store acknowledges nothing from then on.
	// By default it panics.
	Fatal func(error)
}

// Store is the replicated state of one node. Commands go in through
// [Store.ApplyBatch], one call at a time; everything else may be called from any
// goroutine beside it.
type Store struct {
	cfg     Config
	db      *pebble.DB
	boot    uint64        // applied index when opened
	applied atomic.Uint64 // published after the effects are visible
	view    view
	cache   *cache
	settled atomic.Pointer[settings]
	sweep   sweep // apply's own
	failed  error // apply's own: once set, nothing is applied any more
}

// Open opens or creates the state in cfg.Dir.
func Open(cfg Config) (*Store, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 192 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) { panic(err) }
	}
	db, err := pebble.Open(cfg.Dir, options(&cfg))
	if err != nil {
		return nil, fmt.Errorf("open state %q: %w", cfg.Dir, err)
	}
	s := &Store{cfg: cfg, db: db, cache: newCache(cfg.CacheBytes)}
	s.view.init()
	if err := s.reload(); err != nil {
		return nil, errors.Join(fmt.Errorf("open state %q: %w", cfg.Dir, err), db.Close())
	}
	s.boot = s.applied.Load()
	return s, nil
}

// Close releases the state. No other method may run beside it or after it.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close state %q: %w", s.cfg.Dir, err)
	}
	return nil
}

// Applied is the index of the newest command whose effects every reader of this
// store sees, caches included.
func (s *Store) Applied() uint64 { return s.applied.Load() }

// BootIndex is what Applied was when the store was opened: keys and accounts
// created later have no history that this process does not know.
func (s *Store) BootIndex() uint64 { return s.boot }

// reload takes everything that is held in memory from the database again: at
// the start, and after a restore has replaced the rows. Meters survive. It must
// not run beside ApplyBatch.
func (s *Store) reload() error {
	set, err := s.readSettings()
	if err != nil {
		return err
	}
	if s.sweep, err = s.readSweep(); err != nil {
		return err
	}
	states, tiers, err := s.readAccounts()
	if err != nil {
		return err
	}
	row, err := s.get(appliedRow)
	if err != nil {
		return fmt.Errorf("read the applied index: %w", err)
	}
	var applied uint64
	if row != nil {
		if len(row) != 8 {
			return fmt.Errorf("read the applied index: %w", errPacked)
		}
		applied = binary.BigEndian.Uint64(row)
	}
	s.cache.drop()
	s.settled.Store(set)
	s.view.replace(states, tiers)
	s.applied.Store(applied)
	return nil
}

// get reads one row; nil if there is none.
func (s *Store) get(row []byte) ([]byte, error) {
	v, closer, err := s.db.Get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// find reads one row of a table that is looked up with names from outside. It
// asks the filters of the lowest level too, which Get leaves out: after a
// restart nearly everything is there, and an unknown name costs no block.
func (s *Store) find(row []byte, use func(value []byte) error) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.SeekPrefixGE(row) {
		return it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	return use(v)
}
