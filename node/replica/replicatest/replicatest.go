package replicatest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/losstest"
)

const (
	cacheBytes = 80 << 20         // of a replica's Pebble instances
	patience   = 20 * time.Second // for a start and for a stop, on a loaded machine
	storeLimit = 30 * time.Second // of a write to the log: a good disk on a loaded machine
)

// Config is the configuration of a lone node "n1" in dir. The test fails if the
// replica calls Fatal.
func Config(tb testing.TB, fs vfs.FS, dir string) replica.Config {
	cache := pebble.NewCache(cacheBytes)
	tb.Cleanup(cache.Unref)
	return replica.Config{
		Dir: dir, FS: fs, Name: "n1", Version: "test", Cache: cache, CacheBytes: 16 << 20,
		Logger: slog.New(slog.DiscardHandler), StoreLimit: storeLimit,
		Fatal: func(err error) { tb.Errorf("fatal: %v", err) },
	}
}

// Start opens a replica and waits until it is ready.
func Start(tb testing.TB, c replica.Config) *replica.Replica {
	tb.Helper()
	r, err := replica.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		tb.Fatal(err)
	}
	return r
}

// At starts the replica in dir.
func At(tb testing.TB, fs vfs.FS, dir string) *replica.Replica {
	tb.Helper()
	return Start(tb, Config(tb, fs, dir))
}

// New starts a replica on the real disk, with a cluster begun, and shuts it down
// at the end of the test.
func New(tb testing.TB) *replica.Replica {
	tb.Helper()
	r := At(tb, vfs.Default, tb.TempDir())
	tb.Cleanup(func() { Shut(tb, r) })
	Begin(tb, r)
	return r
}

// Begin makes the state of a new cluster "c1".
func Begin(tb testing.TB, r *replica.Replica) {
	tb.Helper()
	Must(tb, r, &store.Command{
		At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n1"},
		Change: &store.Init{ClusterID: "c1", Pepper: store.Hash{1}, OperatorToken: store.Hash{2}, DefaultTier: "free"},
	})
}

// Shut shuts r down.
func Shut(tb testing.TB, r *replica.Replica) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		tb.Errorf("shut down: %v", err)
	}
}

// Must proposes cmd, which must not be refused.
func Must(tb testing.TB, r *replica.Replica, cmd *store.Command) store.Result {
	tb.Helper()
	receipt, err := r.Write(tb.Context(), cmd)
	if err != nil {
		tb.Fatal(err)
	}
	return receipt.Result
}

// Often makes Raft take snapshots all the time.
func Often(c *raft.Config) {
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 20*time.Millisecond, 100, 150
}

// CreateKey is the command that creates the key with number n.
func CreateKey(n int) *store.Command {
	return &store.Command{
		At: time.Now(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorOperator, ID: "op"},
		Change: &store.KeyCreate{Key: Key(n)},
	}
}

// Key is the key with number n.
func Key(n int) store.Key {
	return store.Key{
		ID: KeyID(n), Account: store.DefaultAccount, Name: "Production Server", Type: store.Live,
		Hash: sha256.Sum256([]byte(KeyID(n))), Scopes: []string{"read", "write"}, Hint: "pk_live_0123…STUV",
	}
}

// KeyID is the id of the key with number n.
func KeyID(n int) store.KeyID { return store.KeyID(fmt.Sprintf("key_%012d", n)) }

// Holds reports whether r's state has the key with number n.
func Holds(tb testing.TB, r *replica.Replica, n int) bool {
	tb.Helper()
	k, err := r.Store().Key(KeyID(n))
	if err != nil {
		tb.Fatal(err)
	}
	return k != nil
}

// Eventually asks until ok returns true, for a minute at most: the machine may be loaded.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("waited a minute for %s", what)
		}
	}
}

// Crashable is a file system in memory that can lose its power, with the durable
// directory "data".
func Crashable(tb testing.TB) *losstest.Mem {
	tb.Helper()
	fs := losstest.NewMem()
	if err := errors.Join(fs.MkdirAll("data", 0o700), SyncAll(fs, "data"), SyncAll(fs, "")); err != nil {
		tb.Fatal(err)
	}
	return fs
}

// Memory is a file system in memory with the directory "data".
func Memory(tb testing.TB) vfs.FS {
	tb.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		tb.Fatal(err)
	}
	return fs
}

// SyncAll makes the entries of dir durable.
func SyncAll(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
