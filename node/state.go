package node

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/geo"
	"github.com/perfgate/perfgate/node/observe"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

func (n *Node) openDataDir(context.Context) error {
	lock, err := datadir.Open(n.config.Node.DataDir)
	if err != nil {
		return n.config.Fault("node.data_dir", err.Error())
	}
	n.cleanup("data directory", func(context.Context) error { return lock.Release() })
	return nil
}

func (n *Node) openState(ctx context.Context) (err error) {
	if err := n.vault.Convert(ctx); err != nil {
		return err
	}
	cache := pebble.NewCache(n.options.Memory.blocks())
	n.cleanup("cache", func(context.Context) error { cache.Unref(); return nil })
	n.startup = startup{config: n.config, log: n.log, token: newTokenFile(n.config, n.log)}
	coordinate, err := n.coordinate()
	if err != nil {
		return err
	}
	n.replica, err = replica.Open(ctx, replica.Config{
		Dir: n.config.Node.DataDir, Name: n.config.Node.Name, Region: n.config.Node.Region, Version: n.options.Version,
		Cache: cache, CacheBytes: n.options.Memory.records(), Routes: admit.CompileRoutes, Logger: n.log, Fatal: n.fatal, Coordinate: coordinate, Others: func() (bool, error) { return joins(ctx, &n.config.Cluster) }, Tune: n.options.Tune,
		Clock: n.clock.Read, Encrypt: n.vault.Attach, FS: n.options.Files, StoreLimit: n.options.DiskLimit, Applying: n.options.Applying,
	})
	if err != nil {
		return err
	}
	n.cleanup("replica", n.replica.Shutdown)
	n.store = n.replica.Store()
	from := &source{store: n.store, clock: n.clock, log: n.log}
	if path := n.config.GeoIP.Database; path != "" {
		if from.places, err = geo.Open(path, n.log); err != nil {
			return n.config.Fault("geoip.database", err.Error())
		}
	}
	n.startup.places = from.places
	watcher := observe.NewWatcher(n.log)
	n.startup.watcher = watcher
	n.local, err = local.Open(local.Config{
		FS: n.replica.FS(), Dir: filepath.Join(n.config.Node.DataDir, datadir.LocalDir), Cache: cache,
		Requests: n.config.Audit.Requests, MaxBytes: int64(n.config.Audit.MaxBytes),
		Node: n.replica.Identity().ID, Logger: n.log, Retention: from.retention, Environment: from.environment, KeyName: from.keyName, Country: from.country(), Fatal: n.fatal,
		Clock: n.clock.Wall, Aged: from.aged(), Witness: n.replica.Marks(), Watch: watcher.Watch,
	})
	if err != nil {
		return err
	}
	n.vault.OnRotate(n.rollLogs)
	n.cleanup("local data", func(context.Context) error { return n.local.Close() })
	watcher.Open(n.local)
	n.cleanup("habits", func(context.Context) error { watcher.Close(); return nil })
	n.startup.replica, n.startup.store = n.replica, n.store
	n.startup.bootIndex = n.replica.LastIndex()
	n.startup.fresh = !n.store.Initialized()
	return n.begin(ctx)
}

// source is where the node's own data learns from the replicated state and the clock.
// It does not change, and any goroutine may use it.
type source struct {
	store *store.Store
	clock *clock.Clock
	log   *slog.Logger

	places *geo.Database // nil without one
}

// country finds the country of an address; nil if there is no database.
func (s *source) country() func(netip.Addr) local.Country {
	if s.places == nil {
		return nil
	}
	return s.places.Country
}

// aged returns the clock by which this node's own data grows old: cluster time, which
// wrong clocks do not push ahead, and the time that has passed since it last moved. For
// one goroutine.
func (s *source) aged() func() time.Time {
	var last time.Time // cluster time as last seen, at the monotonic time since
	var since int64
	return func() time.Time {
		wall, mono := s.clock.Read()
		now := s.store.ClusterTime()
		if now.IsZero() {
			return wall
		}
		if !now.Equal(last) {
			last, since = now, mono
		}
		return now.Add(time.Duration(mono - since))
	}
}

// retention is the time for which an account's request audit is kept; 0 is the
// default.
func (s *source) retention(id store.AccountID) time.Duration {
	cell := s.store.Cell(id)
	if cell == nil {
		return 0 // a deleted account
	}
	set := cell.Load()
	if set == nil {
		return 0
	}
	return time.Duration(set.RetentionDays) * 24 * time.Hour
}

// environment is the environment of a key, for usage; "" if the key cannot be read.
func (s *source) environment(id store.KeyID) string { return s.key(id).Environment }

// keyName is the name of a key, for the events of its requests; "" if the key cannot be read.
func (s *source) keyName(id store.KeyID) string { return s.key(id).Name }

// key is a key as it is now, or an empty one.
func (s *source) key(id store.KeyID) *store.Key {
	k, err := s.store.Key(id)
	if err != nil {
		s.log.Warn("read a key for the node's own data", "key", id, "error", err)
	}
	if k == nil {
		return &store.Key{}
	}
	return k
}
