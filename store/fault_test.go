package store

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// A command that meets a damaged row ends the store: no command of its batch is
// acknowledged, none is applied any more, and the rows stay as they were committed.
func TestDamagedRowEndsTheStore(t *testing.T) {
	once := &Once{Scope: hashOf("scope"), Body: hashOf("body")}
	keyRowOf := func(h *harness, id KeyID) []byte { return h.row(named(rowKeyID, id)) }
	for _, c := range []struct {
		name   string
		row    func(h *harness) []byte
		swept  bool // the sweeper meets it
		change Command
	}{
		{"a key", func(h *harness) []byte { return keyRowOf(h, "key_a") }, false, Command{Change: &KeyUpdate{ID: "key_a", Name: ptr("b")}}},
		{"a key of many", func(h *harness) []byte { return keyRowOf(h, "key_a") }, false, Command{Change: &KeyRevokeBulk{CreatedBy: "op"}}},
		{"a key of a deleted account", func(h *harness) []byte { return keyRowOf(h, "key_gone") }, true, *create("b")},
		{"a record of a deleted account", func(*harness) []byte { hash := hashOf("gone"); return hashRow(nil, &hash) },
			false, Command{Change: &KeyImport{Keys: []Key{newKey("gone")}, Prefixes: []string{""}}}},
		{"a stored result", func(*harness) []byte { return named(rowOnce, once.Scope[:]) }, false, Command{Once: once, Change: &KeyRevoke{ID: "key_a"}}},
		{"an allowlist", func(*harness) []byte { return named(rowAllow, "acct_a") }, false, Command{Account: "acct_a", Change: &AllowlistSet{}}},
		{"a deleted account's retention", func(*harness) []byte { return named(rowDeleted, "acct_gone") }, true, *create("b")},
	} {
		var fatal []error
		fs := vfs.NewMem()
		s, err := Open(Config{FS: fs, Dir: "state", Fatal: func(err error) { fatal = append(fatal, err) }})
		if err != nil {
			t.Fatal(err)
		}
		h := &harness{TB: t, Store: s, fs: fs, at: epoch}
		h.must(&Command{Change: &Init{ClusterID: "c1", DefaultTier: "enterprise"}})
		for _, id := range []AccountID{"acct_a", "acct_gone"} {
			h.must(&Command{Change: &AccountCreate{Account: Account{ID: id}}})
		}
		h.must(create("a"))
		h.must(&Command{Account: "acct_gone", Change: &KeyCreate{Key: newKey("gone")}})
		h.must(&Command{Account: "acct_a", Change: &AllowlistSet{Entries: []AllowEntry{{CIDR: newKeyAllow[0]}}}})
		h.must(&Command{Once: once, Change: &KeyUpdate{ID: "key_a", Disabled: ptr(false)}})
		h.must(&Command{Account: "acct_gone", Change: &AccountDelete{}})
		if err := s.db.Set(c.row(h), []byte{0x80}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		before, applied := dump(t, s), s.Applied()
		if c.swept {
			h.pass(sweepEvery)
		}
		good := h.entry(&Command{Change: &TierPut{Tier: Tier{Name: "gold"}}})
		bad := h.entry(&c.change)
		for range 2 {
			for i, answer := range s.ApplyBatch([]*raft.Log{good, bad}) {
				if err, ok := answer.(error); !ok || err == nil {
					t.Errorf("%s: entry %d was answered with %+v", c.name, i, answer)
				}
			}
		}
		if len(fatal) != 1 {
			t.Errorf("%s: fatal %v, want it once", c.name, fatal)
		}
		// A command that scans commits the ones before it.
		if after := dump(t, s); s.Applied() > applied+1 || s.Applied() == applied && after != before || strings.Contains(after, `"kkey_b"`) {
			t.Errorf("%s: applied %d, it was %d; %s", c.name, s.Applied(), applied, firstDifference(after, before))
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A state with a damaged row that is held in memory is not opened; the error names
// the directory and the kind of row. A state that is whole again opens again.
func TestOpenDamaged(t *testing.T) {
	for _, c := range []struct {
		row    []byte
		value  string
		reason string
	}{
		{settingsRow, "{", "read the settings"},
		{appliedRow, "1234567", "read the applied index"},
		{sweepRow, "\x01", "read the sweeper's place"},
		{clockRow, "\x01", "read cluster time"},
		{named(rowTier, "gold"), "{", "read the tiers"},
		{named(rowAllow, "acct_a"), "\x63", "read the allowlists"},
		{named(rowAccount, "acct_a"), "{", "read the accounts"},
		{named(rowAccount, "acct_a"), `{"id":"acct_a","tier":"none"}`, `account acct_a: there is no tier "none"`},
	} {
		h := populated(t, 3)
		if err := h.db.Set(c.row, []byte(c.value), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := h.Store.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Config{FS: h.fs, Dir: "state"})
		if err == nil {
			t.Errorf("%q: the state was opened", c.row)
			h.Store = s
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, `open state "state"`) || !strings.Contains(msg, c.reason) {
			t.Errorf("%q: %v, want %q in it", c.row, err, c.reason)
		}
		db, err := pebble.Open("state", CheckpointOptions(h.fs, nil)) // the failed start has let go of it
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.DeleteRange([]byte{0}, beyondRows, pebble.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		h.Store = openAt(t, h.fs)
	}
}

// A disk that cannot be read fails the calls that need it, each with the name of the
// requested object; nothing is taken for absent. When it can be read again, they go on.
func TestUnreadableDisk(t *testing.T) {
	h := populated(t, 2_000)
	k := h.must(create("last")).Key
	h.must(&Command{Account: "acct_1", Change: &KeyCreate{Key: newKey("other")}})
	if err := h.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := h.Store.Close(); err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	fs := errorfs.Wrap(h.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpFileReadAt {
			return errorfs.ErrInjected
		}
		return nil
	}))
	cache := pebble.NewCache(1) // keeps no block
	defer cache.Unref()
	// Pebble reads tables in the background too, and may be the first to find the disk broken.
	s, err := Open(Config{FS: fs, Dir: "state", Cache: cache, Fatal: func(err error) { t.Log("fatal:", err) }})
	if err != nil {
		t.Fatal(err)
	}
	h.Store = s // its cleanup closes it
	calls := map[string]func() (found bool, err error){
		"look up a key": func() (bool, error) { r, err := s.Lookup(k.Hash); return r != nil, err },
		"read key " + string(k.ID): func() (bool, error) {
			got, err := s.Key(k.ID)
			return got != nil, err
		},
		"list keys of default": func() (bool, error) {
			keys, _, err := s.Keys(KeyQuery{Account: DefaultAccount, Limit: 1})
			return len(keys) > 0, err
		},
		"read the grants to default": func() (bool, error) {
			n, err := s.Granted(DefaultAccount, Live, "", false, Month(epoch))
			return n > 0, err
		},
		"count the keys of default": func() (bool, error) { got, err := s.Held(DefaultAccount); return got.Keys > 0, err },
		"read audit events of default": func() (found bool, err error) {
			for e, fault := range s.Events(EventQuery{Account: DefaultAccount}) {
				found, err = found || e != nil, fault
			}
			return found, err
		},
	}
	for _, fail := range []bool{true, false} {
		broken.Store(fail)
		for name, call := range calls {
			found, err := call()
			if fail && (found || !errors.Is(err, errorfs.ErrInjected) || !strings.Contains(err.Error(), name)) {
				t.Errorf("%s: found %v, %v", name, found, err)
			}
			if !fail && (!found || err != nil) {
				t.Errorf("%s, when the disk is whole again: found %v, %v", name, found, err)
			}
		}
	}
}

// A command that cannot read the object that it changes ends the store and is not
// acknowledged, whichever read it is that fails.
func TestUnreadableDiskEndsTheStore(t *testing.T) {
	whole := populated(t, 500)
	if err := whole.db.Flush(); err != nil {
		t.Fatal(err)
	}
	mem := whole.fs.(*vfs.MemFS)
	if err := whole.Store.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() { whole.Store = openAt(t, whole.fs) }()
	changes := map[string]Change{
		"update": &KeyUpdate{ID: "key_k0007", Name: ptr("b")},
		"revoke": &KeyRevoke{ID: "key_k0007"},
		"bulk":   &KeyRevokeBulk{CreatedBy: "op"},
		"create": &KeyCreate{Key: newKey("fresh")},
		"grant":  &Grant{Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Month: Month(epoch), Want: 1}}},
	}
	for name, change := range changes {
		var broken atomic.Bool
		var fatal atomic.Int32 // counts calls; Pebble's background reads may be the first to fail
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken.Load() && op.Kind == errorfs.OpFileReadAt {
				return errorfs.ErrInjected
			}
			return nil
		}))
		cache := pebble.NewCache(1)
		s, err := Open(Config{FS: fs, Dir: "state", Cache: cache, Fatal: func(error) { fatal.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		h := &harness{TB: t, Store: s, fs: fs, at: whole.at, index: s.Applied()}
		applied := s.Applied()
		broken.Store(true)
		answer := s.Apply(h.entry(&Command{Change: change}))
		broken.Store(false)
		if err, ok := answer.(error); !ok || !errors.Is(err, errorfs.ErrInjected) || fatal.Load() != 1 || s.Applied() != applied {
			t.Errorf("%s: answered %+v, fatal %d times, applied %d after %d", name, answer, fatal.Load(), s.Applied(), applied)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		cache.Unref()
	}
}

// A restore of which a write fails changes nothing and leaves nothing behind, and a
// row of no table is refused.
func TestRestoreRefuses(t *testing.T) {
	h := populated(t, 20)
	raw := takeSnapshot(t, h.Store, 100)
	before := dump(t, h.Store)
	w := &tables{}
	if err := w.add([]byte{0xff, 1}, nil); err == nil || w.w != nil {
		t.Errorf("a row of no table was added: %v", err)
	}
	for n := range 40 {
		left := n
		fs := errorfs.Wrap(h.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if strings.Contains(op.Path, ".restore") && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFileSync) {
				if left--; left == -1 {
					return errorfs.ErrInjected
				}
			}
			return nil
		}))
		h.cfg.FS = fs
		err := h.restore(bytes.NewReader(raw), 1<<10)
		h.cfg.FS = h.fs
		if err == nil {
			if n < 5 {
				t.Errorf("only %d writes failed, which proves nothing", n)
			}
			return
		}
		if !errors.Is(err, errorfs.ErrInjected) {
			t.Fatalf("write %d: %v", n, err)
		}
		if after := dump(t, h.Store); after != before {
			t.Fatalf("write %d failed, and the state is another one", n)
		}
		if _, err := h.fs.Stat("state.restore"); err == nil {
			t.Fatalf("write %d failed, and its tables are left", n)
		}
	}
}
