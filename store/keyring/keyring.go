package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/encfs"
	"github.com/perfgate/perfgate/store/pack"
)

// MaxKeys bounds the data keys of a ring: the current one, and those that files still use.
const MaxKeys = 16

const (
	title    = "perfgate keyring 1 "
	saltSize = 16
	maxFile  = 64 << 10
)

// DataKey is a data key as others may see it.
type DataKey struct {
	ID        encfs.KeyID
	CreatedAt time.Time
	Current   bool
}

// Ring is the keyring of a node. It implements [encfs.Keys].
type Ring struct {
	fs     vfs.FS
	path   string
	change sync.Mutex // held while the file is replaced
	now    atomic.Pointer[ring]
}

// ring is one version of the keyring. It is immutable.
type ring struct {
	kek     Key
	content content
	keys    map[encfs.KeyID][]byte
	current encfs.KeyID
}

// content is the sealed JSON.
type content struct {
	// Converting says that files written before encryption may still be plain.
	Converting bool    `json:"converting,omitzero"`
	Keys       []entry `json:"keys"` // the last one is current
}

type entry struct {
	ID        string    `json:"id"` // hexadecimal
	Key       []byte    `json:"key"`
	CreatedAt time.Time `json:"created_at"`
}

// WrongKeyError is the error of a keyring that another key wraps.
type WrongKeyError struct{ Path, Wraps, Given string }

func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("the key %s does not open the keyring %q, which needs the key %s: give the key that this data directory was encrypted with", e.Given, e.Path, e.Wraps)
}

// damaged is the error of a keyring whose content is not what was written.
func damaged(path, reason string) error {
	return fmt.Errorf("the keyring %q is damaged: %s; put it back from a copy, or empty the data directory and let the node join its cluster again, or restore a backup", path, reason)
}

// Create makes a keyring with one data key.
func Create(fsys vfs.FS, path string, kek Key, converting bool, now time.Time) (*Ring, error) {
	r := &Ring{fs: fsys, path: path}
	c := content{Converting: converting, Keys: []entry{newEntry(now)}}
	if err := r.write(kek, c); err != nil {
		return nil, err
	}
	return r, nil
}

func newEntry(now time.Time) entry {
	var id encfs.KeyID
	rand.Read(id[:])
	k := NewKey()
	return entry{ID: id.String(), Key: k[:], CreatedAt: now.UTC().Truncate(time.Second)}
}

// Open reads the keyring at path, which one of keks must open; the error is
// [fs.ErrNotExist] if there is none.
func Open(fsys vfs.FS, path string, keks ...Key) (*Ring, error) {
	raw, err := read(fsys, path)
	if err != nil {
		return nil, err
	}
	id, err := wrappedBy(path, raw)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(keks, func(k Key) bool { return k.ID() == id })
	if i < 0 {
		given := "that was given"
		if len(keks) > 0 {
			given = keks[0].ID()
		}
		return nil, &WrongKeyError{Path: path, Wraps: id, Given: given}
	}
	c, err := open(keks[i], raw)
	if err != nil {
		return nil, damaged(path, err.Error())
	}
	v, err := newRing(keks[i], c)
	if err != nil {
		return nil, damaged(path, err.Error())
	}
	r := &Ring{fs: fsys, path: path}
	r.now.Store(v)
	return r, nil
}

func read(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the keyring: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the keyring %q: %w", path, err)
	}
	return raw, nil
}

// Exists reports whether there is a keyring at path.
func Exists(fsys vfs.FS, path string) (bool, error) {
	_, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// wrappedBy is the id of the KEK that the file names.
func wrappedBy(path string, raw []byte) (string, error) {
	line, _, ok := bytes.Cut(raw, []byte("\n"))
	id, found := bytes.CutPrefix(line, []byte(title))
	if !ok || !found || len(id) != 16 || len(raw) > maxFile {
		return "", damaged(path, "it does not begin as one")
	}
	return string(id), nil
}

func head(kek *Key) []byte { return []byte(title + kek.ID() + "\n") }

func aead(kek *Key, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, kek[:], salt, "perfgate keyring 1 wrap", KeySize)
	if err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// seal wraps the content. The salt is new each time, and with it the key: the nonce of
// zeros is used once.
func seal(kek Key, c *content) ([]byte, error) {
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	a, err := aead(&kek, salt)
	if err != nil {
		return nil, err
	}
	out := append(head(&kek), salt...)
	return a.Seal(out, make([]byte, a.NonceSize()), plain, out), nil
}

// open unwraps what seal wrapped under the same key.
func open(kek Key, raw []byte) (c content, err error) {
	n := len(head(&kek)) + saltSize
	if len(raw) < n {
		return c, errors.New("it is too short")
	}
	a, err := aead(&kek, raw[n-saltSize:n])
	if err != nil {
		return c, err
	}
	plain, err := a.Open(nil, make([]byte, a.NonceSize()), raw[n:], raw[:n])
	if err != nil {
		return c, errors.New("it does not authenticate")
	}
	return c, json.Unmarshal(plain, &c, json.RejectUnknownMembers(true))
}

func newRing(kek Key, c content) (*ring, error) {
	r := &ring{kek: kek, content: c, keys: map[encfs.KeyID][]byte{}}
	if len(c.Keys) == 0 || len(c.Keys) > MaxKeys {
		return nil, fmt.Errorf("it has %d data keys; must be 1 to %d", len(c.Keys), MaxKeys)
	}
	for _, e := range c.Keys {
		id, err := hex.DecodeString(e.ID)
		if err != nil || len(id) != len(r.current) || len(e.Key) != KeySize {
			return nil, fmt.Errorf("the data key %q is none", e.ID)
		}
		r.current = encfs.KeyID(id)
		r.keys[r.current] = e.Key
	}
	return r, nil
}

// write replaces the file, then the version that readers see.
func (r *Ring) write(kek Key, c content) error {
	v, err := newRing(kek, c)
	if err != nil {
		return err
	}
	raw, err := seal(kek, &c)
	if err != nil {
		return fmt.Errorf("seal the keyring: %w", err)
	}
	if err := pack.WriteFile(r.fs, r.path, raw); err != nil {
		return fmt.Errorf("write the keyring %q: %w", r.path, err)
	}
	r.now.Store(v)
	return nil
}

// Current implements [encfs.Keys].
func (r *Ring) Current() (encfs.KeyID, []byte) {
	v := r.now.Load()
	return v.current, v.keys[v.current]
}

// Key implements [encfs.Keys].
func (r *Ring) Key(id encfs.KeyID) ([]byte, bool) {
	key, ok := r.now.Load().keys[id]
	return key, ok
}

// KEK is the id of the key that wraps the ring.
func (r *Ring) KEK() string { return r.now.Load().kek.ID() }

// Converting reports whether files from before encryption may still be plain.
func (r *Ring) Converting() bool { return r.now.Load().content.Converting }

// Converted notes that all files are encrypted.
func (r *Ring) Converted() error {
	r.change.Lock()
	defer r.change.Unlock()
	v := r.now.Load()
	c := v.content
	c.Converting = false
	return r.write(v.kek, c)
}

// Keys lists the data keys, the oldest first.
func (r *Ring) Keys() (out []DataKey) {
	v := r.now.Load()
	for _, e := range v.content.Keys {
		id, _ := hex.DecodeString(e.ID) // checked by newRing
		out = append(out, DataKey{ID: encfs.KeyID(id), CreatedAt: e.CreatedAt, Current: encfs.KeyID(id) == v.current})
	}
	return out
}

// Rewrap wraps the data keys with another KEK.
func (r *Ring) Rewrap(kek Key) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.write(kek, r.now.Load().content)
}

// Add makes a new data key and uses it for new files.
func (r *Ring) Add(now time.Time) (encfs.KeyID, error) {
	r.change.Lock()
	defer r.change.Unlock()
	v := r.now.Load()
	c := v.content
	if len(c.Keys) >= MaxKeys {
		return encfs.KeyID{}, fmt.Errorf("there are %d data keys already, which files still use; finish the rotations before, or start the node again", len(c.Keys))
	}
	c.Keys = append(slices.Clone(c.Keys), newEntry(now))
	if err := r.write(v.kek, c); err != nil {
		return encfs.KeyID{}, err
	}
	return r.now.Load().current, nil
}

// Retire forgets data keys that no file uses any more. The current one stays.
func (r *Ring) Retire(used map[encfs.KeyID]bool) (removed []encfs.KeyID, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	v := r.now.Load()
	c := v.content
	c.Keys = slices.DeleteFunc(slices.Clone(c.Keys), func(e entry) bool {
		raw, _ := hex.DecodeString(e.ID) // checked by newRing
		id := encfs.KeyID(raw)
		gone := id != v.current && !used[id]
		if gone {
			removed = append(removed, id)
		}
		return gone
	})
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, r.write(v.kek, c)
}
