package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/encfs"
	"github.com/perfgate/perfgate/store/losstest"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestParseKey(t *testing.T) {
	k := Key{1, 2, 250}
	for _, text := range []string{
		k.Text(), "  " + strings.ToUpper(k.Text()) + "\r\n", base64.StdEncoding.EncodeToString(k[:]), base64.RawURLEncoding.EncodeToString(k[:]),
	} {
		if got, err := ParseKey([]byte(text)); err != nil || got != k {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, says := range map[string]string{
		"": "empty", "\n": "empty", "abcd": "has 2 bytes", k.Text()[:62]: "has 31 bytes", k.Text() + "00": "has 33 bytes", "correct horse!": "neither hexadecimal nor base64",
	} {
		_, err := ParseKey([]byte(text))
		if err == nil || !strings.Contains(err.Error(), says) || len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if k.String() != "(secret)" || k.ID() == (&Key{}).ID() || len(k.ID()) != 16 {
		t.Error(k.String(), k.ID())
	}
}

func create(t *testing.T, mem vfs.FS, kek Key) *Ring {
	t.Helper()
	r, err := Create(mem, "keyring", kek, true, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLife(t *testing.T) {
	mem, k1, k2 := vfs.NewMem(), NewKey(), NewKey()
	if _, err := Open(mem, "keyring", k1); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	r := create(t, mem, k1)
	first, key := r.Current()
	if !r.Converting() || len(key) != KeySize || r.KEK() != k1.ID() {
		t.Error(r.Converting(), len(key), r.KEK())
	}
	if err := r.Converted(); err != nil {
		t.Fatal(err)
	}
	second, err := r.Add(epoch.Add(time.Hour))
	if err != nil || second == first {
		t.Fatal(second, err)
	}
	if err := r.Rewrap(k2); err != nil {
		t.Fatal(err)
	}
	var wrong *WrongKeyError
	if _, err := Open(mem, "keyring", k1); !errors.As(err, &wrong) || wrong.Wraps != k2.ID() || wrong.Given != k1.ID() {
		t.Errorf("the old key: %v", err)
	}
	again, err := Open(mem, "keyring", k1, k2)
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := again.Current(); id != second || again.Converting() {
		t.Error(id, again.Converting())
	}
	if old, ok := again.Key(first); !ok || !bytes.Equal(old, key) {
		t.Error("the first data key is gone")
	}
	if keys := again.Keys(); len(keys) != 2 || keys[0].ID != first || keys[0].Current || !keys[1].Current || !keys[0].CreatedAt.Equal(epoch) {
		t.Errorf("%+v", keys)
	}
	if gone, err := again.Retire(map[encfs.KeyID]bool{first: true}); err != nil || gone != nil {
		t.Errorf("a used key was retired: %v, %v", gone, err)
	}
	if gone, err := again.Retire(nil); err != nil || len(gone) != 1 || gone[0] != first {
		t.Errorf("%v, %v", gone, err)
	}
	if last, err := Open(mem, "keyring", k2); err != nil || len(last.Keys()) != 1 {
		t.Errorf("%v", err)
	}
	if ok, err := Exists(mem, "keyring"); err != nil || !ok {
		t.Error(ok, err)
	}
	if ok, err := Exists(mem, "other"); err != nil || ok {
		t.Error(ok, err)
	}
}

func TestBound(t *testing.T) {
	r := create(t, vfs.NewMem(), NewKey())
	for range MaxKeys - 1 {
		if _, err := r.Add(epoch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Add(epoch); err == nil || len(r.Keys()) != MaxKeys {
		t.Errorf("%d keys, %v", len(r.Keys()), err)
	}
}

// No key is in the file, every flipped bit and every cut is an error, and none of them
// gives a data key.
func TestDamage(t *testing.T) {
	mem, kek := vfs.NewMem(), NewKey()
	r := create(t, mem, kek)
	good, err := read(mem, "keyring")
	if err != nil {
		t.Fatal(err)
	}
	_, key := r.Current()
	if bytes.Contains(good, key[:8]) || bytes.Contains(good, kek[:8]) {
		t.Error("a key is in the file")
	}
	refused := func(what string, n int, bad []byte) {
		t.Helper()
		f, err := mem.Create("keyring", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(bad); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(mem, "keyring", kek); err == nil {
			t.Fatalf("%s %d is not detected", what, n)
		}
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		refused("bit", bit, bad)
	}
	for n := range good {
		refused("cut at", n, good[:n])
	}
	refused("a byte more", 1, append(bytes.Clone(good), 0))
}

// Power is lost at every step of every change: the ring is the old one or the new one.
func TestPowerLoss(t *testing.T) {
	k1, k2 := NewKey(), NewKey()
	for name, change := range map[string]func(*Ring) error{
		"rewrap":    func(r *Ring) error { return r.Rewrap(k2) },
		"add":       func(r *Ring) error { _, err := r.Add(epoch); return err },
		"converted": func(r *Ring) error { return r.Converted() },
	} {
		var first encfs.KeyID
		losstest.EveryStep(t, func() *losstest.Mem {
			mem := losstest.NewMem()
			create(t, mem, k1)
			return mem
		}, func(fsys vfs.FS) {
			r, err := Open(fsys, "keyring", k1)
			if err != nil {
				t.Fatal(err)
			}
			first, _ = r.Current()
			if err := change(r); err != nil {
				t.Fatal(err)
			}
		}, func(step int, left *losstest.Mem) {
			after, err := Open(left, "keyring", k1, k2)
			if err != nil {
				t.Fatalf("%s, step %d: %v", name, step, err)
			}
			if _, ok := after.Key(first); !ok {
				t.Fatalf("%s, step %d: the data key is lost", name, step)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	kek := Key{1}
	raw, err := seal(kek, &content{Keys: []entry{newEntry(epoch)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(title))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := wrappedBy("keyring", b); err == nil && id == kek.ID() {
			if c, err := open(kek, b); err == nil && len(c.Keys) == 0 {
				t.Error("a ring without a key authenticates")
			}
		}
	})
}
