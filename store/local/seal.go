package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/pack"
)

// SealSuffix ends the name of the seal, the file beside the directory that records its
// expected content.
const SealSuffix = ".seal"

// seal holds the facts that a node knows of its directory without opening it: whether
// there was one, and after a clean stop the sums of its files. Pebble itself takes an
// empty directory for a new one, and a damaged end of its logs for a crash.
//
// On disk it is one line of JSON and one with its CRC-32C. A seal that does not
// decode is as good as none.
type seal struct {
	Store  string                `json:"store,omitempty"` // salt of the database, hexadecimal; "" while there is none
	Files  map[string]sealedFile `json:"files,omitempty"` // nil but after a clean stop
	Losses []Loss                `json:"losses,omitempty"`
}

// sealedFile is one file of a clean stop. Tables have checksums of their own, which
// the [scrub] compares.
type sealedFile struct {
	Size int64  `json:"size"`
	Sum  uint32 `json:"sum,omitempty"`
}

// Loss is one time that this node lost its own data.
type Loss struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Kept   string    `json:"kept,omitempty"` // name of the directory with the remains; "" if nothing was left
}

// maxSeal bounds the seal in bytes: a directory of 1 GiB has about 100 files.
const maxSeal = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// directory is the directory of the database and the seal beside it. It has no lock of
// its own: it belongs to Open, the writer and Close, in this order.
type directory struct {
	fs      vfs.FS
	path    string
	log     *slog.Logger
	witness Witness      // nil if there is none
	lock    *pebble.Lock // nil while it is not locked
	seal    seal         // as it is on disk, but see sealed
	sealed  bool         // false while there is no seal on disk that can be read
}

func (d *directory) sealPath() string { return d.path + SealSuffix }

// readSeal reads the seal. In the place of a missing or damaged one, the witness knows
// whether there was a database.
func (d *directory) readSeal() error {
	d.seal, d.sealed = seal{}, false
	raw, err := readFile(d.fs, d.sealPath(), maxSeal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.recall()
	case disk.Damaged(err):
		raw = nil // as an encrypted one says by itself
	case err != nil:
		return fmt.Errorf("read %q: %w", d.sealPath(), err)
	}
	text, sum, _ := strings.Cut(string(raw), "\n")
	if sum != sealSum(text) || json.Unmarshal([]byte(text), &d.seal) != nil {
		d.log.Warn("the seal of this node's own data is damaged; a loss since the last start may stay unnoticed", "file", d.sealPath())
		d.seal = seal{} // the start goes on without it
		return d.recall()
	}
	d.sealed = true
	return nil
}

// recall takes the name of the database from the witness.
func (d *directory) recall() (err error) {
	if d.witness != nil {
		d.seal.Store, err = d.witness.LocalName()
	}
	return err
}

// name gives the seal the name of the database, and then the witness, which is asked
// where there is no seal only.
func (d *directory) name(name string) error {
	if d.seal.Store != name || !d.sealed {
		d.seal.Store = name
		if err := d.writeSeal(); err != nil {
			return err
		}
	}
	if d.witness == nil {
		return nil
	}
	if known, err := d.witness.LocalName(); err != nil || known == name {
		return err
	}
	return d.witness.SetLocalName(name)
}

func (d *directory) writeSeal() error {
	raw, err := json.Marshal(&d.seal)
	if err != nil {
		return err
	}
	if err := pack.WriteFile(d.fs, d.sealPath(), []byte(string(raw)+"\n"+sealSum(string(raw)))); err != nil {
		return fmt.Errorf("write %q: %w", d.sealPath(), err)
	}
	d.sealed = true
	return nil
}

func sealSum(text string) string {
	return fmt.Sprintf("%08x\n", crc32.Checksum([]byte(text), castagnoli))
}

func readFile(fs vfs.FS, name string, bound int64) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, bound))
}

// sealFiles seals the directory after a clean stop: it sums up the files, which no
// database has open any more.
func (d *directory) sealFiles() error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	files := make(map[string]sealedFile, len(names))
	for _, name := range names {
		// The lock is empty, and the options are not needed.
		if name == "LOCK" || strings.HasPrefix(name, "OPTIONS-") {
			continue
		}
		if files[name], err = d.sum(name); err != nil {
			return err
		}
	}
	d.seal.Files = files
	return d.writeSeal()
}

// unseal makes the seal of a clean stop void, before anything is written.
func (d *directory) unseal() error {
	if d.seal.Files == nil {
		return nil
	}
	d.seal.Files = nil
	return d.writeSeal()
}

func (d *directory) sum(name string) (s sealedFile, err error) {
	f, err := d.fs.Open(d.fs.PathJoin(d.path, name))
	if err != nil {
		return s, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	s.Size = info.Size()
	if path.Ext(name) == ".sst" {
		return s, nil
	}
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, f); err != nil {
		return s, err
	}
	s.Sum = h.Sum32()
	return s, nil
}

// examine compares the directory with its seal before Pebble opens it, and returns an
// error that [damaging] reports if the data in it is not all there.
func (d *directory) examine() error {
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	some, made := false, false
	for _, name := range names {
		// Pebble writes its manifest's marker before the first log and table, and
		// takes a directory without one for new.
		made = made || strings.HasPrefix(name, "marker.manifest.")
		some = some || path.Ext(name) == ".log" || path.Ext(name) == ".sst"
	}
	if !made && (some || d.seal.Store != "") {
		return fmt.Errorf("%w: the database is missing or has no manifest", errDamaged)
	}
	if d.seal.Files == nil {
		return disk.CheckLogs(d.fs, d.path)
	}
	for name, want := range d.seal.Files {
		got, err := d.sum(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %s is missing", errDamaged, name)
		case err != nil:
			return err
		case got != want:
			return fmt.Errorf("%w: %s is not as the last clean stop left it", errDamaged, name)
		}
	}
	return nil
}
