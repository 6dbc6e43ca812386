package recovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/seal"
)

// ledgerFormat begins the signed text of a ledger. The id of the cluster and all lines but
// the last one follow.
const ledgerFormat = "perfgate ledger of erasures 1\n"

// maxAside bounds the damaged ledgers that are kept; the last one is replaced.
const maxAside = 9

// signedLedger is the text of a ledger and its signature; without one, seal is nil.
type signedLedger struct {
	text []byte
	seal *ledgerSeal
}

// ledgerSeal is the last line of a ledger.
type ledgerSeal struct {
	Cluster   string      `json:"cluster_id"`
	Key       string      `json:"key"`       // id of the key that signed
	Signature []byte      `json:"signature"` // Ed25519
	Keys      []chain.Key `json:"keys"`      // each endorsed by the one before it, oldest first
}

// damagedLedger is the fault of a ledger whose content cannot be used.
type damagedLedger struct{ err error }

func (d *damagedLedger) Error() string { return d.err.Error() }
func (d *damagedLedger) Unwrap() error { return d.err }

var errUnsigned = errors.New("it is not signed, or its end is missing")

// check reports whether the ledger is that of cluster: signed by a trusted key, or by one that
// leads back to a trusted one.
func (s *signedLedger) check(cluster string, trusted []chain.Key) error {
	if s == nil || s.seal == nil {
		return errUnsigned
	}
	if s.seal.Cluster != cluster {
		return fmt.Errorf("it is that of the cluster %s", s.seal.Cluster)
	}
	keys := chain.Keys{}
	for i := range trusted {
		if err := keys.Add(&trusted[i]); err != nil {
			return err
		}
	}
	if err := keys.Follow(s.seal.Keys); err != nil {
		return err
	}
	return keys.CheckText(s.seal.Key, sealedText(cluster, s.text), s.seal.Signature)
}

func sealedText(cluster string, lines []byte) []byte {
	return append([]byte(ledgerFormat+cluster+"\n"), lines...)
}

// ledgerKeeper writes the ledger. The lock is held for the time of a write: the eraser and Run
// call it.
type ledgerKeeper struct {
	// Erasures are those of the state; nil keeps no ledger.
	Erasures func() ([]*store.Erasure, error)
	Sign     func(text []byte) (key string, signature []byte, err error)
	Keys     func() []chain.Key // of the cluster, the one that signs last; empty until it has one

	mu       sync.Mutex
	said     string // the fault that was logged last
	behind   atomic.Bool
	kept     atomic.Bool // signed and whole at the last try since the start
	failures atomic.Int64
}

// KeepLedger writes the erasures of the state to the ledger in the folder of the backups. A fault is logged and
// counted, and Run tries again: the disk of the backups holds up no erasure.
func (b *Backups) KeepLedger() {
	k := &b.Ledger
	if k.Erasures == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	err := b.keepLedger()
	k.behind.Store(err != nil)
	k.kept.Store(err == nil && len(k.Keys()) > 0)
	if err == nil {
		if k.said != "" {
			b.Logger.Info("the ledger of erasures beside the backups is written again", "dir", b.Dir)
		}
		k.said = ""
		return
	}
	k.failures.Add(1)
	if k.said != err.Error() {
		k.said = err.Error()
		b.Logger.Error("the ledger of erasures beside the backups cannot be written, so a restore would not know of the newest erasures; it is tried again", "dir", b.Dir, "error", err)
	}
}

// Behind reports whether the ledger lacks erasures because it could not be written.
func (b *Backups) Behind() bool { return b.Ledger.behind.Load() }

// keepLedger adds what the file lacks. Erasures that are only in the file stay: another node
// with the same folder may know more. A file that is damaged, or that this cluster did not
// sign, is set aside and made again from the state.
func (b *Backups) keepLedger() error {
	list, err := b.Ledger.Erasures()
	if err != nil {
		return err
	}
	path := filepath.Join(b.Dir, ledgerName(b.Cluster()))
	l, whole, err := b.readOwn(path, list)
	if err != nil {
		return err
	}
	before := len(l.taken) + len(l.cancelled)
	for _, e := range list {
		l.add(e)
	}
	if whole && before == len(l.taken)+len(l.cancelled) {
		return nil
	}
	text, err := b.sealed(l.lines())
	if err != nil {
		return err
	}
	return b.replace(path, text)
}

// readOwn reads the ledger of this cluster. It is whole if it need not be written again.
func (b *Backups) readOwn(path string, list []*store.Erasure) (l *ledger, whole bool, err error) {
	l = &ledger{}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return l, true, nil
	}
	var signed *signedLedger
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &damagedLedger{errors.New("it is no regular file")} // opening a pipe would wait for its writer
	default:
		signed, err = l.readFile(path, seal.With{})
	}
	var damaged *damagedLedger
	keys := b.Ledger.Keys()
	switch {
	case err != nil && !errors.As(err, &damaged):
		return nil, false, fmt.Errorf("read the ledger of erasures %s: %w", path, err)
	case err == nil && signed == nil:
		err = errors.New("it is no ledger")
	case err == nil && len(keys) == 0:
		return l, true, nil
	case err == nil && signed.seal == nil && l.within(list):
		return l, false, nil // of the time before the cluster had a key
	case err == nil:
		err = signed.check(b.Cluster(), keys)
	}
	if err == nil {
		return l, true, nil
	}
	aside := path + ".damaged"
	for n := 2; n <= maxAside && exists(aside); n++ {
		aside = fmt.Sprintf("%s.damaged-%d", path, n)
	}
	if no := os.Rename(path, aside); no != nil {
		return nil, false, fmt.Errorf("set the damaged ledger of erasures aside: %w", no)
	}
	b.Logger.Error("the ledger of erasures beside the backups is damaged or was changed; it was set aside, and is written again from the erasures that this cluster knows",
		"file", path, "aside", aside, "error", err)
	return &ledger{}, false, nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// within reports whether all that l knows is in list.
func (l *ledger) within(list []*store.Erasure) bool {
	known := ledger{}
	for _, e := range list {
		known.add(e)
	}
	for id := range l.taken {
		if known.taken[id] == nil {
			return false
		}
	}
	for id := range l.cancelled {
		if known.cancelled[id] == nil {
			return false
		}
	}
	return true
}

// sealed adds the signature, once the cluster has a key.
func (b *Backups) sealed(lines []byte) ([]byte, error) {
	keys := b.Ledger.Keys()
	if len(keys) == 0 {
		return lines, nil
	}
	s := ledgerSeal{Cluster: b.Cluster(), Keys: keys}
	var err error
	if s.Key, s.Signature, err = b.Ledger.Sign(sealedText(s.Cluster, lines)); err != nil {
		return nil, fmt.Errorf("sign the ledger of erasures: %w", err)
	}
	end, err := json.Marshal(struct {
		Seal ledgerSeal `json:"ledger"`
	}{s})
	if err != nil {
		return nil, err
	}
	return append(append(lines, end...), '\n'), nil
}

// replace puts a new file in the place of path.
func (b *Backups) replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(b.Dir, backupTemp+"erasures-*"+backupTempEnd) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(b.Dir)
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
