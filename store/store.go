package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/disk"
)

// Config says where a store lives. Zero values get the defaults that are named.
type Config struct {
	FS         vfs.FS        // the operating system's by default
	Dir        string        // made if it does not exist
	Cache      *pebble.Cache // block cache, shared with the other instances; 8 MiB of its own by default
	CacheBytes int64         // bound of the record cache; 192 MiB by default, about 1.1 million keys
	Logger     *slog.Logger  // none by default
	// Routes compiles the route patterns of a key, once for each record that is
	// read into the cache. Without it, a key that has routes may use none.
	Routes func(patterns []string) Routes
	// Fatal is called once, from any goroutine, with the reason why the store cannot go
	// on: a failed write, a damaged file, a command of a newer version. The node must
	// stop; the store acknowledges nothing from then on.
	// By default it panics.
	Fatal func(error)
}

// Store is the replicated state of one node. Commands go in through
// [Store.ApplyBatch], one call at a time; everything else may be called from any
// goroutine beside it.
type Store struct {
	database // set by Open
	facts
	outbox
	fingerprints

	cfg         Config
	guard       *disk.Guard
	boot        uint64        // applied index when opened
	applied     atomic.Uint64 // published after the effects are visible
	view        view
	cache       *cache
	held        holdings
	sweep       sweep          // apply's own
	clock       clock          // apply's own
	chain       chaining       // apply's own
	fingerprint Fingerprint    // apply's own
	printBuf    []byte         // apply's own
	enc         *chain.Encoder // apply's own
	failed      error          // apply's own: once set, nothing is applied any more
	// clusterTime is clock.now as published, in Unix nanoseconds; see ClusterTime.
	clusterTime atomic.Int64
	lastChange  atomic.Uint64 // chain.seq as published
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
	if cfg.Routes == nil {
		cfg.Routes = func([]string) Routes { return noRoutes{} }
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) { panic(err) }
	}
	o, guard := options(&cfg)
	db, err := pebble.Open(cfg.Dir, o)
	if err != nil {
		return nil, fmt.Errorf("open state %q: %w", cfg.Dir, err)
	}
	s := &Store{database: openDatabase(db), cfg: cfg, guard: guard, cache: newCache(cfg.CacheBytes), enc: chain.NewEncoder()}
	s.cache.extras.routes = cfg.Routes
	s.view.init()
	s.outbox.init(s.database)
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

// RollLog makes Pebble begin a new log, and a table of what is in the old one.
func (s *Store) RollLog() error {
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush the state: %w", err)
	}
	return nil
}

// Compact takes the rows that were removed from the disk. It fails with [disk.ErrHeld] while a reader holds
// them.
func (s *Store) Compact(ctx context.Context) error {
	if err := disk.Purge(ctx, &disk.Purged{DB: s.db, Guard: s.guard, FS: s.cfg.FS, Dir: s.cfg.Dir, From: []byte{0}, To: beyondRows}); err != nil {
		return fmt.Errorf("compact the state: %w", err)
	}
	return nil
}

// Applied is the index of the newest command visible to every reader of this
// store, caches included.
func (s *Store) Applied() uint64 { return s.applied.Load() }

// BootIndex is the value of Applied when the store was opened: this process knows
// the whole history of keys and accounts created later.
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
	if s.clock, err = s.readClock(); err != nil {
		return err
	}
	if s.chain, err = s.readChaining(); err != nil {
		return err
	}
	states, tiers, err := s.readAccounts(newRuleCompiler(s.cfg.Routes))
	if err != nil {
		return err
	}
	hooks, err := s.readHooks()
	if err != nil {
		return err
	}
	row, err := s.get(appliedRow)
	if err != nil {
		return fmt.Errorf("read the applied index: %w", err)
	}
	applied, print, err := unpackApplied(row)
	if err != nil {
		return fmt.Errorf("read the applied index: %w", err)
	}
	s.cache.drop()
	s.held.reset()
	s.settled.Store(set)
	s.view.replace(states, tiers)
	s.outbox.table.Store(&hooks)
	s.rouse()
	s.clusterTime.Store(s.clock.now)
	s.lastChange.Store(s.chain.seq)
	s.fingerprint = print
	s.fingerprints.restart(applied, print)
	s.applied.Store(applied)
	return nil
}
