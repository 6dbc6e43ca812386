package local

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/store/disk"
)

// Data that cannot be reached is not damaged: it stays, and the start fails.
func TestUnreachableIsNotDamaged(t *testing.T) {
	for _, cause := range []error{nil, iofs.ErrPermission, syscall.EACCES, syscall.ENOSPC} {
		base := filled(t, true, false)
		disk := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if cause != nil && op.Kind == errorfs.OpOpen && strings.HasPrefix(path.Base(op.Path), "MANIFEST-") {
				return cause
			}
			return nil
		}))
		l, err := Open(Config{FS: disk, Dir: "data/local", Node: "node1", Logger: quiet()})
		if cause == nil {
			must(t, err)
			must(t, l.Close())
			continue
		}
		if !errors.Is(err, cause) {
			t.Errorf("%v: Open returned %v", cause, err)
		}
		again := open(t, Config{FS: base})
		if n := total(t, again, StepDay); n != 100 || len(again.Losses()) != 0 {
			t.Errorf("%v: %d requests are counted afterwards, losses %v", cause, n, again.Losses())
		}
	}
}

// A first start that was interrupted is no loss, nor is a seal that does not decode.
func TestNoFalseLoss(t *testing.T) {
	for n := range 120 {
		kept := n % 2 * 100 // percent of the directory entries and bytes that were not synced
		mem := crashable(t)
		var mu sync.Mutex // Pebble writes from several goroutines
		steps, crashed := 0, vfs.FS(nil)
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				mu.Lock()
				defer mu.Unlock()
				if steps++; steps == n/2 {
					crashed = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(1, 1))})
				}
			}
			return nil
		}))
		l := open(t, Config{FS: fs})
		must(t, l.Close())
		mu.Lock()
		after := crashed
		mu.Unlock()
		if after == nil {
			continue
		}
		l = open(t, Config{FS: after})
		if len(l.Losses()) != 0 {
			t.Errorf("power lost at write %d, %d %% kept: %+v", n/2, kept, l.Losses())
		}
	}
	fs := filled(t, false, false)
	flip(t, fs, "data/local"+SealSuffix, 5)
	if l := open(t, Config{FS: fs}); len(l.Losses()) != 0 || total(t, l, StepDay) != 100 {
		t.Errorf("the seal was damaged: losses %+v", l.Losses())
	}
	raw, err := fs.Open("data/local" + SealSuffix)
	must(t, err)
	if text, err := io.ReadAll(raw); err != nil || !strings.Contains(string(text), `"store":"`) {
		t.Errorf("the seal is %q, %v", text, err)
	}
}

// An encrypted seal that is damaged cannot be read at all. It is like any other damaged
// one: nothing is lost, and it is made again.
func TestDamagedEncryptedSeal(t *testing.T) {
	base, hits := filled(t, false, false), 0
	fs := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hits == 0 && op.Kind == errorfs.OpFileRead && strings.HasSuffix(op.Path, SealSuffix) {
			hits++
			return fmt.Errorf("frame 0 does not authenticate: %w", disk.ErrDamaged)
		}
		return nil
	}))
	if l := open(t, Config{FS: fs}); hits == 0 || len(l.Losses()) != 0 || total(t, l, StepDay) != 100 {
		t.Errorf("%d reads failed: losses %+v", hits, l.Losses())
	}
}
