package local

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store/logtest"
)

// memory is a witness in memory.
type memory struct {
	name string
	err  error
}

func (m *memory) LocalName() (string, error) { return m.name, m.err }

func (m *memory) SetLocalName(name string) error {
	m.name = name
	return m.err
}

// The removal of the directory together with its seal is noticed by the witness, and is
// reported like that of the directory alone.
func TestRemovedWithItsSeal(t *testing.T) {
	removed := func(names ...string) func(*testing.T, vfs.FS) {
		return func(t *testing.T, fs vfs.FS) {
			for _, name := range names {
				must(t, fs.RemoveAll(name))
			}
		}
	}
	const dir, seal = "data/local", "data/local" + SealSuffix
	for _, c := range []struct {
		name   string
		break_ func(*testing.T, vfs.FS)
		reason string // of the loss; "" if there is none
		kept   bool
	}{
		{"nothing", removed(), "", false},
		{"the seal", removed(seal), "", false},
		{"a damaged seal", func(t *testing.T, fs vfs.FS) { flip(t, fs, seal, 3) }, "", false},
		{"both", removed(dir, seal), "missing or has no manifest", false},
		{"the directory and a part of the seal", func(t *testing.T, fs vfs.FS) {
			must(t, fs.RemoveAll(dir))
			flip(t, fs, seal, 3)
		}, "missing or has no manifest", false},
		{"another one in its place", func(t *testing.T, fs vfs.FS) {
			removed(dir, seal)(t, fs)
			must(t, open(t, Config{FS: fs}).Close())
			must(t, fs.Remove(seal))
		}, "is not the one that this node left there", true},
	} {
		for _, crashed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/crashed=%v", c.name, crashed), func(t *testing.T) {
				base := filled(t, true, crashed)
				w := &memory{}
				l := open(t, Config{FS: copied(t, base), Witness: w}) // a version that has none before
				if len(l.Losses()) > 0 || w.name == "" {
					t.Fatalf("losses %+v, the witness knows %q", l.Losses(), w.name)
				}
				must(t, l.Close())
				disk := l.cfg.FS
				c.break_(t, disk)
				known := w.name
				h := &logtest.Log{}
				l = open(t, Config{FS: disk, Witness: w, Logger: slog.New(slog.NewTextHandler(h, nil))})
				if c.reason == "" {
					if len(l.Losses()) > 0 || w.name != known || total(t, l, StepDay) == 0 {
						t.Errorf("losses %+v, the witness knows %q, %d requests are counted", l.Losses(), w.name, total(t, l, StepDay))
					}
				} else {
					reports(t, l, h, c.reason, c.kept)
					if w.name == known {
						t.Error("the witness does not know the new database")
					}
				}
				if _, err := disk.Stat(seal); err != nil {
					t.Errorf("while it is open, the seal is missing: %v", err)
				}
				must(t, l.Close())
				if l = open(t, Config{FS: disk, Witness: w}); l.LossCount() != 0 {
					t.Errorf("another start reports %+v", l.Losses())
				}
			})
		}
	}
}

// The seal decides where there is one: a crash may have kept its news from the witness.
func TestWitnessOfAnOlderDatabase(t *testing.T) {
	disk := copied(t, filled(t, true, false))
	w := &memory{name: "of an older one"}
	l := open(t, Config{FS: disk, Witness: w})
	if len(l.Losses()) > 0 || w.name != l.dir.seal.Store {
		t.Errorf("losses %+v, the witness knows %q", l.Losses(), w.name)
	}
}

// A witness that cannot be asked, or told, is an error of the start.
func TestWitnessFails(t *testing.T) {
	failed := errors.New("disk on fire")
	for name, break_ := range map[string]func(*testing.T, vfs.FS){
		"new": func(t *testing.T, disk vfs.FS) { must(t, disk.RemoveAll("data")) },
		"old": func(*testing.T, vfs.FS) {},
	} {
		disk := copied(t, filled(t, true, false))
		break_(t, disk)
		_, err := Open(Config{FS: disk, Dir: "data/local", Logger: quiet(), Witness: &memory{err: failed}})
		if !errors.Is(err, failed) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
