package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/logtest"
)

// Rows of this package's own that do not decode are damage at the start: the data is
// set aside, and the node goes on.
func TestOwnRowsThatDoNotDecode(t *testing.T) {
	for name, row := range map[string]struct{ key, value []byte }{
		"numbers":              {[]byte{rowOwn, 's'}, []byte("short")},
		"an account":           {append([]byte{rowAccount}, "default"...), []byte("five5")},
		"first counted bucket": {sinceRow, []byte("five5")},
		"key of a size":        {[]byte{rowSize, 200, 'x'}, make([]byte, 8)},
		"value of a size":      {sizeRow("default", 7), make([]byte, 7)},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			l, err := prepare(Config{FS: fs, Dir: "data/local", Node: "node1", Logger: quiet(), stamp: asObserved, whole: 1 << 30})
			must(t, err)
			must(t, l.db.Set(row.key, row.value, pebble.Sync))
			must(t, errors.Join(l.w.batch.Close(), l.db.Close(), l.dir.lock.Close()))
			h := &logtest.Log{}
			l = open(t, Config{FS: fs, Logger: slog.New(slog.NewTextHandler(h, nil))})
			reports(t, l, h, "does not decode", true)
		})
	}
}

// The second to open a directory fails and leaves it alone: what another process uses
// is not damaged.
func TestOpenTwice(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, Config{FS: fs})
	l.Observe(admitted(day0, "default", "key_a"))
	must(t, l.Flush())
	second, err := Open(Config{FS: fs, Dir: "data/local", Node: "node1", Logger: quiet()})
	if err == nil {
		second.Close()
		t.Fatal("opened twice")
	}
	var lock *lockError
	if !errors.As(err, &lock) || lock.Unwrap() == nil || !strings.Contains(err.Error(), "lock it: ") {
		t.Errorf("the error is %v", err)
	}
	if n := total(t, l, StepDay); n != 1 || len(l.Losses()) != 0 {
		t.Errorf("%d requests are counted after it, losses %v", n, l.Losses())
	}
	must(t, l.Close())
	if l = open(t, Config{FS: fs}); total(t, l, StepDay) != 1 || len(l.Losses()) != 0 {
		t.Errorf("after a restart: losses %v", l.Losses())
	}
}

// Which errors mean that data is damaged, and not out of reach.
func TestDamaging(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errCorrupt, true},
		{errDamaged, true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, true},
		{pebble.ErrCorruption, true},
		{&fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}, true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOTDIR}, true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EISDIR}, true},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EEXIST}, true},
		{errors.New("pebble: some file is not as it should be"), true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, false},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, false},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, false},
		{fs.ErrPermission, false},
		{&lockError{syscall.EAGAIN}, false},
		{&lockError{fs.ErrNotExist}, false}, // whatever its cause
	} {
		if got := damaging(c.err); got != c.want {
			t.Errorf("%v: damaging %v, want %v", c.err, got, c.want)
		}
	}
}

// A start that cannot set damaged data aside fails and removes nothing; the next one that
// can does it, and counts one loss.
func TestSettingAsideFails(t *testing.T) {
	for name, fails := range map[string]func(errorfs.Op) bool{
		"seal":   func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename && strings.Contains(op.Path, SealSuffix) },
		"rename": func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename && path.Base(op.Path) == "local" },
	} {
		t.Run(name, func(t *testing.T) {
			base := copied(t, filled(t, true, false))
			for _, name := range list(t, base, "data/local") {
				if path.Ext(name) == ".sst" {
					must(t, base.Remove(path.Join("data/local", name)))
				}
			}
			before, hits := list(t, base, "data/local"), 0
			broken := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !fails(op) {
					return nil
				}
				hits++
				return syscall.EROFS
			}))
			if l, err := Open(Config{FS: broken, Dir: "data/local", Node: "node1", Logger: quiet()}); !errors.Is(err, syscall.EROFS) || l != nil || hits == 0 {
				t.Fatalf("opened with %v after %d failures", err, hits)
			}
			after := list(t, base, "data/local")
			slices.Sort(before)
			slices.Sort(after)
			if !slices.Equal(after, before) {
				t.Errorf("%v is left of %v", after, before)
			}
			l := open(t, Config{FS: base})
			losses := l.Losses()
			if n := len(losses); n == 0 || losses[n-1].Kept == "" || l.LossCount() != 1 {
				t.Errorf("losses %+v, %d new", losses, l.LossCount())
			}
		})
	}
}

// The scrub takes a block that cannot be read for damage; a table that a compaction
// removed and one that it may not open are none.
func TestScrubOfOneTable(t *testing.T) {
	for _, c := range []struct {
		name    string
		op      errorfs.OpKind
		err     error
		damaged bool
		logged  bool
	}{
		{"sound", 0, nil, false, false},
		{"removed", errorfs.OpOpen, fs.ErrNotExist, false, false},
		{"no right to it", errorfs.OpOpen, syscall.EACCES, false, true},
		{"unreadable", errorfs.OpFileReadAt, syscall.EIO, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var failing atomic.Bool // Pebble reads tables in the background too
			disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && c.err != nil && op.Kind == c.op && path.Ext(op.Path) == ".sst" {
					return c.err
				}
				return nil
			}))
			h := &logtest.Log{}
			l, err := prepare(Config{FS: disk, Dir: "data/local", Node: "node1", Logger: slog.New(slog.NewTextHandler(h, nil))})
			must(t, err)
			l.Observe(admitted(day0, "default", "key_a"))
			must(t, l.w.write(true, false))
			must(t, l.db.Flush())
			tables := l.scrub.tables()
			if len(tables) != 1 || tables[0].size == 0 {
				t.Fatalf("tables %+v", tables)
			}
			failing.Store(true)
			l.scrub.check(tables[0])
			failing.Store(false)
			if got := l.damage.pending(); got != c.damaged {
				t.Errorf("damage is known: %v, want %v", got, c.damaged)
			}
			if got := h.Has("check a table"); got != c.logged {
				t.Errorf("logged: %v, want %v", got, c.logged)
			}
			if c.damaged && len(l.scrub.tables()) != 0 {
				t.Error("tables are listed while they wait to be set aside")
			}
			go l.run()
			wait(t, "the damage to be dealt with", func() bool { return !l.damage.pending() })
			must(t, l.Close())
		})
	}
}

// A last use that does not decode is logged, and the memory's is still known.
func TestLastUseThatDoesNotDecode(t *testing.T) {
	h := &logtest.Log{}
	l := open(t, Config{Logger: slog.New(slog.NewTextHandler(h, nil))})
	l.Observe(admitted(day0, "default", "key_a"))
	must(t, l.Flush())
	for _, key := range []store.KeyID{"key_a", "key_b"} {
		must(t, l.db.Set(lastKey(key), append(make([]byte, 8), 5), pebble.Sync))
	}
	if u, ok := l.LastUsed("key_a"); !ok || !u.At.Equal(day0) {
		t.Errorf("last use %v, %v", u, ok)
	}
	if u, ok := l.LastUsed("key_b"); ok {
		t.Errorf("last use %v of a key that memory does not know", u)
	}
	if !h.Has("read a key's last use") {
		t.Error("nothing is logged")
	}
}

// Usage rows of each key are merged to the same sum in any order and grouping, as Pebble
// may do it.
func TestMergeOfUsage(t *testing.T) {
	key := append(slotKey(rowUsage, 'm', 7), "row"...)
	merge := func(t *rapid.T, values [][]byte) []byte {
		m, err := newMerger().Merge(key, values[0])
		for i := 1; err == nil && i < len(values); i++ {
			if i%2 == 0 {
				err = m.MergeNewer(values[i])
			} else {
				err = m.MergeOlder(values[i])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := m.Finish(true)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(v)
	}
	rapid.Check(t, func(t *rapid.T) {
		var all [][]byte
		var want tally
		n := rapid.OneOf(rapid.Uint64Range(0, 1000), rapid.Uint64Range(math.MaxInt64-5, math.MaxInt64))
		for range rapid.IntRange(2, 8).Draw(t, "rows") {
			v := tally{1, n.Draw(t, "denied"), n.Draw(t, "units"), n.Draw(t, "cost"), n.Draw(t, "would")}
			want.add(v)
			all = append(all, v.append(nil))
		}
		at := rapid.IntRange(1, len(all)-1).Draw(t, "group")
		order := rapid.Permutation(all).Draw(t, "order")
		grouped := merge(t, [][]byte{merge(t, order[:at]), merge(t, order[at:])})
		if got, err := parseTally(grouped); err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	})
	if _, err := newMerger().Merge(key, []byte{1, 2}); !errors.Is(err, errCorrupt) {
		t.Errorf("a cut row was merged: %v", err)
	}
}

// Keys of events sort as (bucket, account, time, number), and nothing but such a key is
// read as one.
func TestEventKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account := rapid.SampledFrom([]string{"", "a", "acct_a", strings.Repeat("x", maxName)})
		type event struct {
			account string
			ns, seq uint64
		}
		draw := func(label string) event {
			return event{account.Draw(t, label), rapid.Uint64Range(0, uint64(3*span)).Draw(t, "time"), rapid.Uint64Range(0, 3).Draw(t, "number")}
		}
		a, b := draw("a"), draw("b")
		ka, kb := eventKey(nil, a.account, a.ns, a.seq), eventKey(nil, b.account, b.ns, b.seq)
		p, ok := parsePlace(ka)
		if !ok || string(p.account) != a.account || p.ns != a.ns || p.seq != a.seq || p.bucket != bucketOf(a.ns) {
			t.Fatalf("%+v was read as %+v, %v", a, p, ok)
		}
		if a.account == b.account {
			want := a.ns < b.ns || a.ns == b.ns && a.seq < b.seq
			if got := bytes.Compare(ka, kb) < 0; got != want {
				t.Fatalf("%+v before %+v: %v", a, b, got)
			}
		} else if bytes.HasPrefix(kb, accountPrefix(nil, bucketOf(a.ns), a.account)) {
			t.Fatalf("the prefix of %q holds an event of %q", a.account, b.account)
		}
		prefix := accountPrefix(nil, bucketOf(a.ns), a.account)
		if bytes.Compare(ka, prefix) < 0 || bytes.Compare(ka, prefixEnd(prefix)) >= 0 {
			t.Fatalf("%+v is outside of its prefix", a)
		}
		for n := range ka {
			if _, ok := parsePlace(ka[:n]); ok {
				t.Fatalf("%d of %d bytes were read", n, len(ka))
			}
		}
		ka[0] = rowEvent + rowStray - ka[0] // an account's row among those of none, or the reverse
		if _, ok := parsePlace(ka); ok {
			t.Fatalf("%x was read in the other row", ka)
		}
	})
}

// What a last use's value holds is read again, and nothing else is one.
func TestLastUseRoundTrip(t *testing.T) {
	for _, ip := range []netip.Addr{{}, netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::1")} {
		v := appendLast(nil, 99, ip, Country{})
		if u, err := parseLast(v); err != nil || nanos(u.At) != 99 || u.IP != ip {
			t.Errorf("%v was read as %v, %v", ip, u, err)
		}
		for n := range v {
			if _, err := parseLast(v[:n]); err == nil {
				t.Errorf("%d of %d bytes were read", n, len(v))
			}
		}
		if _, err := parseLast(append(v, 0)); err == nil {
			t.Error("a byte after the end was ignored")
		}
	}
	if _, err := parseLast(append(binary.BigEndian.AppendUint64(nil, 1), 3, 1, 2, 3)); err == nil {
		t.Error("an address of 3 bytes was read")
	}
}

// The count of lost events is read again; a cut one is an error, in a query too.
func TestLossRoundTrip(t *testing.T) {
	want := loss{300, 1 << 40, math.MaxUint64}
	v := want.append(nil)
	if got, err := parseLoss(v); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	d := decoder{prefix: "evt_01234567", node: "n"}
	for n := range v {
		if _, err := parseLoss(v[:n]); err == nil {
			t.Errorf("%d of %d bytes were read", n, len(v))
		}
		if _, err := d.event("", nanos(day0), 1, v[:n]); !errors.Is(err, errCorrupt) {
			t.Errorf("an event of %d bytes: %v", n, err)
		}
	}
	if _, err := parseLoss(appendRequest(nil, typical(), true)); err == nil {
		t.Error("a request was read as a loss")
	}
	if !(loss{}).zero() || (loss{uncounted: 1}).zero() || at(nanos(day0)) != day0.In(time.UTC) {
		t.Error("zero or times")
	}
}
