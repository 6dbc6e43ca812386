package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// state is a store with so many keys; the second one is revoked.
func state(t testing.TB, keys int) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	index := uint64(0)
	do := func(c *store.Command) {
		t.Helper()
		index++
		c.At, c.Account, c.Actor = epoch.Add(time.Duration(index)*time.Second), store.DefaultAccount, store.Actor{Type: store.ActorOperator, ID: "op"}
		r, ok := s.Apply(&raft.Log{Index: index, Type: raft.LogCommand, Data: c.Encode()}).(store.Result)
		if !ok || r.Refusal != nil {
			t.Fatalf("entry %d: %+v", index, r.Refusal)
		}
	}
	do(&store.Command{Change: &store.Init{ClusterID: "cl_1", Pepper: store.Hash{1}, OperatorToken: store.Hash{2}, DefaultTier: "free"}})
	for i := range keys {
		id := fmt.Sprintf("key_%04d", i)
		do(&store.Command{Change: &store.KeyCreate{Key: store.Key{ID: store.KeyID(id), Hash: sha256.Sum256([]byte(id)), Type: store.Live, Name: id, Scopes: []string{"read"}}}})
	}
	if keys > 1 {
		do(&store.Command{Change: &store.KeyRevoke{ID: "key_0001"}})
	}
	return s
}

func take(t testing.TB, s *store.Store, passphrase string) []byte {
	t.Helper()
	b, err := Begin(s, Header{Node: "n1", Version: "test", CreatedAt: epoch.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	w := io.WriteCloser(nopCloser{&out})
	if passphrase != "" {
		if w, _, err = (seal.To{Passphrase: passphrase, Work: 2}).Seal(&out); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.WriteTo(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestRoundTrip(t *testing.T) {
	s := state(t, 3000) // several frames
	for _, passphrase := range []string{"", "correct horse battery staple"} {
		raw := take(t, s, passphrase)
		if sealed := !bytes.Contains(raw, []byte("key_0000")); sealed != (passphrase != "") {
			t.Fatalf("with passphrase %q the file is encrypted: %v", passphrase, sealed)
		}
		r, err := Verify(bytes.NewReader(raw), seal.With{Passphrase: passphrase})
		if err != nil {
			t.Fatal(err)
		}
		want := store.Census{Accounts: 1, Keys: 3000, Active: 2999, Revoked: 1}
		c := r.Census
		if c.Accounts != want.Accounts || c.Keys != want.Keys || c.Active != want.Active || c.Revoked != want.Revoked || c.Disabled+c.Expired != 0 {
			t.Errorf("census %+v, want %+v", c, want)
		}
		if r.ClusterID != "cl_1" || r.Applied != s.Applied() || r.Node != "n1" || r.Encrypted != (passphrase != "") || !r.CreatedAt.Equal(epoch.Add(time.Hour)) {
			t.Errorf("report %+v", r)
		}
		if r.Bytes > int64(len(raw)) || passphrase == "" && r.Bytes != int64(len(raw)) {
			t.Errorf("%d bytes of %d", r.Bytes, len(raw))
		}
		if !strings.Contains(r.String(), "2999 active") {
			t.Errorf("%s", r)
		}
	}
}

// A backup shows one moment, however long its reader takes.
func TestOneMoment(t *testing.T) {
	s := state(t, 10)
	before := take(t, s, "")
	b, err := Begin(s, Header{Node: "n1", Version: "test", CreatedAt: epoch.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := &store.Command{At: epoch.Add(time.Minute), Account: store.DefaultAccount, Change: &store.KeyRevoke{ID: "key_0002"}}
	s.Apply(&raft.Log{Index: s.Applied() + 1, Type: raft.LogCommand, Data: c.Encode()})
	var out bytes.Buffer
	if _, err := b.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), before) {
		t.Error("a write that came later is in it")
	}
}

// Cut anywhere, flipped anywhere, or with bytes after its end: refused.
func TestDamage(t *testing.T) {
	s := state(t, 6)
	for _, passphrase := range []string{"", "secret"} {
		raw := take(t, s, passphrase)
		step, flips := 1, 2000
		if passphrase != "" {
			step, flips = 37, 50 // each costs a scrypt
		}
		refused := func(what string, raw []byte) {
			t.Helper()
			if r, err := Verify(bytes.NewReader(raw), seal.With{Passphrase: passphrase}); err == nil {
				t.Errorf("sealed %v: %s is taken for %+v", passphrase != "", what, r)
			}
		}
		for n := 0; n < len(raw); n += step {
			refused(fmt.Sprintf("cut to %d of %d bytes", n, len(raw)), raw[:n])
		}
		refused("a byte behind it", append(bytes.Clone(raw), 0))
		refused("twice", append(bytes.Clone(raw), raw...))
		for range flips {
			bit := rand.IntN(8 * len(raw))
			bad := bytes.Clone(raw)
			bad[bit/8] ^= 1 << (bit % 8)
			refused(fmt.Sprintf("bit %d flipped", bit), bad)
		}
		if _, err := Verify(bytes.NewReader(raw), seal.With{Passphrase: passphrase}); err != nil {
			t.Fatalf("the control: %v", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := state(t, 2)
	plain, sealed := take(t, s, ""), take(t, s, "secret")
	swap := func(old, new string) []byte {
		bad := bytes.Replace(plain[:len(plain)-sha256.Size], []byte(old), []byte(new), 1)
		sum := sha256.Sum256(bad)
		return append(bad, sum[:]...)
	}
	for name, c := range map[string]struct {
		raw        []byte
		passphrase string
		is         error
		says       string
	}{
		"no passphrase":    {sealed, "", seal.ErrSecret, "its passphrase is needed"},
		"wrong passphrase": {sealed, "Secret", seal.ErrSecret, "with another passphrase"},
		"empty":            {nil, "", nil, "no backup"},
		"something else":   {[]byte(strings.Repeat("{}", 100)), "", nil, "no backup"},
		"cut":              {plain[:len(plain)/2], "", errDamaged, "damaged"},
		"a later format":   {swap(magic, "PERFGATE-BACKUP 2\n"), "", nil, "newer version"},
		"a later level":    {swap(fmt.Sprintf(`"level":%d`, store.Level), `"level":9`), "", nil, "newer version"},
		"another index":    {swap(`"applied":4`, `"applied":5`), "", errDamaged, "another index"},
		"no cluster":       {swap(`"cl_1"`, `""`), "", errDamaged, "incomplete"},
	} {
		r, err := Verify(bytes.NewReader(c.raw), seal.With{Passphrase: c.passphrase})
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := Verify(bytes.NewReader(plain), seal.With{Passphrase: "not needed"}); err != nil {
		t.Errorf("a passphrase for a plain file: %v", err)
	}
}

func TestNames(t *testing.T) {
	h := Header{ClusterID: "cl_a-b", CreatedAt: time.Date(2027, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))}
	id, at, ok := ParseName(h.Name())
	if !ok || id != h.ClusterID || !at.Equal(h.CreatedAt.Truncate(time.Second)) || h.Name() != "perfgate-cl_a-b-20270102T020405Z.backup" {
		t.Errorf("%s: %q, %v, %v", h.Name(), id, at, ok)
	}
	for _, bad := range []string{"", "perfgate-x.backup", h.Name() + ".tmp", "." + h.Name(), "perfgate-c-20271302T020405Z.backup"} {
		if _, _, ok := ParseName(bad); ok {
			t.Errorf("%q is taken for a backup's name", bad)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(take(f, state(f, 2), ""))
	f.Fuzz(func(t *testing.T, raw []byte) { Verify(bytes.NewReader(raw), seal.With{}) })
}
