package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/snapshot"
)

// takeSnapshot takes a snapshot of s the way Raft does, at index, and returns it
// as a stream.
func takeSnapshot(tb testing.TB, s *Store, index uint64) []byte {
	tb.Helper()
	fs := s.cfg.FS
	snaps, err := snapshot.Open(snapshot.Config{
		FS: fs, Dir: "snapshots", Logger: slog.New(slog.DiscardHandler),
		Options: func() *pebble.Options { return CheckpointOptions(fs, nil) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	captured, err := s.Snapshot()
	if err != nil {
		tb.Fatal(err)
	}
	defer captured.Release()
	sink, err := snaps.Create(1, index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(captured.Persist(sink), sink.Close()); err != nil {
		tb.Fatal(err)
	}
	_, src, err := snaps.Open(sink.ID())
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := io.ReadAll(src)
	if err := errors.Join(err, src.Close()); err != nil {
		tb.Fatal(err)
	}
	return raw
}

// rowsOf is dump without the applied index.
func rowsOf(tb testing.TB, s *Store) string {
	tb.Helper()
	var out []string
	for line := range strings.Lines(dump(tb, s)) {
		if !strings.HasPrefix(line, fmt.Sprintf("%q", appliedRow)) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// populated has a bit of everything.
func populated(tb testing.TB, keys int) *harness {
	h := begun(tb)
	h.must(&Command{Change: &TierPut{Tier: Tier{Name: "gold"}, Create: true}})
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_1", Name: "Acme", Tier: "gold"}}})
	for i := range keys {
		h.must(create(fmt.Sprintf("k%04d", i)))
	}
	h.must(&Command{Change: &KeyRevoke{ID: "key_k0001", Reason: "leaked"}})
	h.must(&Command{Change: &Grant{Node: "n1", Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Month: Month(epoch), Want: 10}}}})
	return h
}

func TestRestoreGivesTheSameRows(t *testing.T) {
	from := populated(t, 40)
	at := from.index + 7 // entries that are no commands
	raw := takeSnapshot(t, from.Store, at)

	fresh := empty(t)
	full := begun(t)
	for i := range 30 {
		full.must(create(fmt.Sprintf("old%d", i)))
	}
	if r, err := full.Lookup(hashOf("old3")); err != nil || r == nil {
		t.Fatalf("the record is not there to be cached: %v", err)
	}
	for name, to := range map[string]*harness{"into an empty state": fresh, "into a full one": full} {
		t.Run(name, func(t *testing.T) {
			// Tables of 1 KiB: many, as a large state has.
			if err := to.restore(bytes.NewReader(raw), 1<<10); err != nil {
				t.Fatal(err)
			}
			if got, want := rowsOf(t, to.Store), rowsOf(t, from.Store); got != want {
				t.Errorf("restored rows differ\n got:\n%s\nwant:\n%s", got, want)
			}
			if to.Applied() != at {
				t.Errorf("applied is %d, the snapshot's index is %d", to.Applied(), at)
			}
			if r, err := to.Lookup(hashOf("k0003")); err != nil || r == nil {
				t.Errorf("a restored key is unknown: %v", err)
			}
			if r, err := to.Lookup(hashOf("old3")); err != nil || r != nil {
				t.Errorf("a key of before is still known: %v, %v", r, err)
			}
			if to.ClusterID() != from.ClusterID() || len(to.Tiers()) != len(from.Tiers()) || to.Cell("acct_1") == nil {
				t.Error("settings, tiers or accounts were not taken over")
			}
			if again := takeSnapshot(t, to.Store, at+1); rowsOfStream(t, again) != rowsOfStream(t, raw) {
				t.Error("a snapshot of what was restored has other rows")
			}
			// Skips the entries that it contains, applies later ones, and keeps it.
			to.index = at - 1
			if r := to.do(create("skipped")); r.Index != 0 {
				t.Errorf("entry %d was applied again", at)
			}
			to.must(create("next"))
			to.reopen()
			if k, err := to.Key("key_next"); err != nil || k == nil {
				t.Errorf("a key created after the restore is lost: %v", err)
			}
			if k, err := to.Key("key_skipped"); err != nil || k != nil {
				t.Errorf("an entry that the snapshot contains was applied: %v, %v", k, err)
			}
		})
	}
}

func rowsOfStream(tb testing.TB, raw []byte) string {
	tb.Helper()
	r, err := snapshot.NewReader(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	for {
		k, v, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.Equal(k, appliedRow) {
			fmt.Fprintf(&b, "%q = %q\n", k, v)
		}
	}
}

func TestDamagedStreamChangesNothing(t *testing.T) {
	raw := takeSnapshot(t, populated(t, 40).Store, 100)
	to := populated(t, 3)
	before := dump(t, to.Store)
	for _, cut := range []int{0, 10, 30, len(raw) / 2, len(raw) - 1} {
		if err := to.Restore(io.NopCloser(bytes.NewReader(raw[:cut]))); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("cut at %d of %d: %v", cut, len(raw), err)
		}
	}
	for at := 25; at < len(raw); at += len(raw) / 20 {
		bad := bytes.Clone(raw)
		bad[at] ^= 0x10
		if err := to.Restore(io.NopCloser(bytes.NewReader(bad))); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("bit flipped at %d of %d: %v", at, len(raw), err)
		}
	}
	if after := dump(t, to.Store); after != before {
		t.Error("the state changed")
	}
	names, err := to.fs.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".restore") {
			t.Errorf("%s is left behind", n)
		}
	}
}

// TestPowerLossInRestore: at any moment of the power loss, the state is the
// old one or the new one.
func TestPowerLossInRestore(t *testing.T) {
	raw := takeSnapshot(t, populated(t, 60).Store, 100)
	for ops := int64(1); ; ops += 3 {
		mem := losstest.NewMem()
		s := openAt(t, mem)
		h := &harness{TB: t, Store: s, fs: mem, at: epoch}
		h.must(&Command{Actor: Actor{Type: ActorSystem, ID: "n1"}, Change: &Init{ClusterID: "old", Pepper: Hash{1}, OperatorToken: Hash{2}, DefaultTier: "free"}})
		if err := s.db.LogData(nil, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		old := rowsOf(t, s)
		var crashed *losstest.Mem
		// The source is read while tables are written: cutting the power there and
		// right before and after the exchange covers every state on disk.
		src := &countdown{src: bytes.NewReader(raw), left: ops, at: func() { crashed = mem.CrashClone(vfs.CrashCloneCfg{}) }}
		if err := s.restore(src, 1<<10); err != nil {
			t.Fatal(err)
		}
		fresh := rowsOf(t, s)
		last := crashed == nil
		if last {
			crashed = mem.CrashClone(vfs.CrashCloneCfg{})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		after := openAt(t, crashed)
		if got := rowsOf(t, after); got != old && got != fresh || last && got != fresh {
			t.Fatalf("after %d reads the state is neither the old nor the new one", ops)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		if last {
			return
		}
	}
}

// countdown calls at when it has been read in small pieces so often.
type countdown struct {
	src  io.Reader
	left int64
	at   func()
}

func (c *countdown) Read(p []byte) (int, error) {
	if c.left--; c.left == 0 {
		c.at()
	}
	return c.src.Read(p[:min(len(p), 512)])
}

// Reads beside a restore see the old state or the new one: a key that both have is never
// unknown, also to who begins to read while one takes the place of the other.
func TestReadsBesideARestore(t *testing.T) {
	s := populated(t, 40)
	raw := takeSnapshot(t, s.Store, s.index)
	h := hashOf("k0003")
	done := make(chan struct{})
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				reads.Add(1)
				if e, err := s.readRecord(&h); err != nil || e == nil {
					t.Errorf("a look-up of the key: %v, %v", e, err)
					return
				}
				if k, err := s.Key("key_k0003"); err != nil || k == nil {
					t.Errorf("a read of the key: %v, %v", k, err)
					return
				}
			}
		})
	}
	for range 60 {
		if err := s.restore(bytes.NewReader(raw), restoreTable); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
	t.Logf("%d reads beside 60 restores", reads.Load())
}
