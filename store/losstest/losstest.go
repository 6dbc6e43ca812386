package losstest

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// leastSteps is how many steps a change has at least: fewer mean that they are not seen.
const leastSteps = 5

// EveryStep runs do on a disk of its own and loses the power after each of its steps, one
// after the other, with half of the data that was not synced. disk makes the disk, which
// must be crashable; after looks at what is left of it.
func EveryStep(t testing.TB, disk func() *Mem, do func(vfs.FS), after func(step int, left *Mem)) {
	t.Helper()
	for stop := 1; ; stop++ {
		mem := disk()
		var left *Mem
		steps := 0
		do(&stepped{mem, func() {
			if steps++; steps == stop {
				left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(stop), 7))})
			}
		}})
		if left == nil {
			if stop <= leastSteps {
				t.Fatalf("the change has %d steps only", steps)
			}
			t.Logf("%d steps", steps)
			return
		}
		after(stop, left)
	}
}

// stepped calls step after each change.
type stepped struct {
	vfs.FS
	step func()
}

func (s *stepped) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	s.step()
	return &steppedFile{f, s.step}, err
}

func (s *stepped) Rename(from, to string) error {
	defer s.step()
	return s.FS.Rename(from, to)
}

func (s *stepped) Remove(name string) error {
	defer s.step()
	return s.FS.Remove(name)
}

func (s *stepped) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	return &steppedFile{f, s.step}, err
}

type steppedFile struct {
	vfs.File
	step func()
}

func (s *steppedFile) Write(p []byte) (int, error) {
	defer s.step()
	return s.File.Write(p)
}

func (s *steppedFile) Sync() error {
	defer s.step()
	return s.File.Sync()
}
