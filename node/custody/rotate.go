package custody

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/store/encfs"
	"github.com/perfgate/perfgate/store/keyring"
)

// ErrBusy is the answer while another rotation runs.
var ErrBusy = errors.New("a rotation of keys is running already; see perfgate keyring status")

// ErrSameKey is the answer for a KEK that this node cannot replace by itself.
var ErrSameKey = errors.New("the source of the key still gives the current key")

// Progress is how far the rotation of the data key is.
type Progress struct {
	Running bool      `json:"running"`
	Done    int64     `json:"done_bytes"`
	Total   int64     `json:"total_bytes"`
	Error   string    `json:"error,omitzero"` // of the last one; it is tried again at the next start
	Ended   time.Time `json:"ended_at,omitzero"`
}

// KeyUse is a data key with the files that are encrypted with it.
type KeyUse struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Current   bool      `json:"current"`
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
}

// Status describes the keys of this node. It tells none.
type Status struct {
	KEK      string   `json:"kek"`    // id
	Source   string   `json:"source"` // file, environment, command
	Beside   bool     `json:"key_beside_data"`
	DataKeys []KeyUse `json:"data_keys"`
	Rotation Progress `json:"rotation"`
}

// Status counts the files of each data key.
func (v *Vault) Status() (*Status, error) {
	s := &Status{KEK: v.ring.KEK(), Source: v.source.kind, Beside: v.source.beside, DataKeys: []KeyUse{}}
	used, err := v.used()
	if err != nil {
		return nil, err
	}
	for _, k := range v.ring.Keys() {
		u := KeyUse{ID: k.ID.String(), CreatedAt: k.CreatedAt, Current: k.Current}
		if got := used[k.ID]; got != nil {
			u.Files, u.Bytes = got.Files, got.Bytes
		}
		s.DataKeys = append(s.DataKeys, u)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s.Rotation = v.progress
	return s, nil
}

// used counts the files of each data key. It reads the header of each file.
func (v *Vault) used() (map[encfs.KeyID]*KeyUse, error) {
	out := map[encfs.KeyID]*KeyUse{}
	err := v.walk(func(f file) error {
		if !f.encrypted {
			return nil // being created
		}
		if out[f.key] == nil {
			out[f.key] = new(KeyUse)
		}
		out[f.key].Files++
		out[f.key].Bytes += f.size
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at the encrypted files: %w", err)
	}
	return out, nil
}

// begin claims the turn of the only rotation.
func (v *Vault) begin() bool {
	select {
	case v.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (v *Vault) end() { <-v.turn }

// RotateKEK wraps the data keys with another KEK and returns its id. If the source gives
// another key than before, that is the one; otherwise a key file gets a new random key.
func (v *Vault) RotateKEK(ctx context.Context) (id string, err error) {
	if !v.begin() {
		return "", ErrBusy
	}
	defer v.end()
	kek, _, found, err := v.source.read(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case found && kek.ID() != v.ring.KEK():
		err = v.ring.Rewrap(kek)
	case v.source.kind == FromCommand:
		return "", fmt.Errorf("%w: let encryption.key_command give the new key, then repeat this", ErrSameKey)
	case v.source.kind == FromEnv:
		return "", fmt.Errorf("%w: start the node again with the new key in %s and the current one in %s", ErrSameKey, config.EncryptionKeyEnv, config.PreviousKeyEnv)
	default:
		kek = keyring.NewKey()
		err = v.replaceFile(&kek)
	}
	if err != nil {
		return "", err
	}
	v.log.Info("the data keys are wrapped with a new key", "kek", kek.ID())
	return kek.ID(), nil
}

// replaceFile puts a new key into the key file; see the package comment.
func (v *Vault) replaceFile(kek *keyring.Key) error {
	if err := v.source.write(v.source.path+NextSuffix, kek); err != nil {
		return err
	}
	if err := v.ring.Rewrap(*kek); err != nil {
		return err
	}
	return v.source.adopt()
}

// RotateData makes a new data key, which new files are encrypted with from now on, and
// begins to encrypt the others again. The caller then calls Run.
func (v *Vault) RotateData() error {
	if !v.begin() {
		return ErrBusy
	}
	defer v.end()
	id, err := v.ring.Add(v.now())
	if err != nil {
		return err
	}
	v.report(Progress{Running: true}) // by Run, which follows
	v.log.Info("new files are encrypted with a new data key", "key", id)
	return nil
}

// Rotating reports whether files may be encrypted with older data keys.
func (v *Vault) Rotating() bool { return len(v.ring.Keys()) > 1 }

// Run encrypts again what is not encrypted with the current data key, and forgets the
// data keys that no file needs any more. It returns at once if there is nothing to do. A
// file that is open for writing keeps its key: the manifest of a database, until the next
// start, which goes on.
func (v *Vault) Run(ctx context.Context) error {
	if !v.Rotating() {
		return nil
	}
	if !v.begin() {
		return ErrBusy
	}
	defer v.end()
	v.report(Progress{Running: true})
	err := v.encryptAgain(ctx)
	v.mu.Lock()
	p := v.progress
	v.mu.Unlock()
	p.Running, p.Ended = false, v.now().UTC().Truncate(time.Second)
	if err != nil {
		p.Error = err.Error()
	}
	v.report(p)
	return err
}

func (v *Vault) report(p Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.progress = p
}

func (v *Vault) encryptAgain(ctx context.Context) error {
	v.mu.Lock()
	files, roll := v.files, v.roll
	v.mu.Unlock()
	if files == nil {
		return errors.New("BUG: no file system is attached")
	}
	if roll != nil {
		if err := roll(); err != nil {
			return fmt.Errorf("begin new logs: %w", err)
		}
	}
	current, _ := v.ring.Current()
	var old []file
	p := Progress{Running: true}
	if err := v.walk(func(f file) error {
		if f.encrypted && f.key != current {
			old = append(old, f)
			p.Total += f.size
		}
		return nil
	}); err != nil {
		return err
	}
	v.report(p)
	for _, f := range old {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := files.Rewrite(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, encfs.ErrOpen) {
			return fmt.Errorf("encrypt %q with the new key: %w", f.name, err)
		}
		p.Done += f.size
		v.report(p)
	}
	used, err := v.used()
	if err != nil {
		return err
	}
	keep := map[encfs.KeyID]bool{}
	for id := range used {
		keep[id] = true
	}
	gone, err := v.ring.Retire(keep)
	if err != nil {
		return err
	}
	v.log.Info("files are encrypted with the new data key", "files", len(old), "bytes", p.Done, "keys_retired", len(gone), "keys", len(v.ring.Keys()))
	return nil
}
