package losstest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestClonesBesideChanges clones a file system while it is changed in every way. With
// vfs.MemFS it ends with all goroutines asleep.
func TestClonesBesideChanges(t *testing.T) {
	m := NewMem()
	if err := m.MkdirAll("d", 0o755); err != nil {
		t.Fatal(err)
	}
	create := func(name string) {
		f, err := m.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Error(err)
			return
		}
		f.Write([]byte("x"))
		f.Sync()
		f.Close()
	}
	var wg sync.WaitGroup
	const rounds = 20_000
	for w := range 3 {
		wg.Go(func() {
			for i := range rounds {
				name := fmt.Sprintf("d/%d-%d", w, i%8)
				create(name)
				m.Remove(name + "-link")
				if err := m.Link(name, name+"-link"); err != nil {
					t.Error(err)
				}
				if f, err := m.ReuseForWrite(name, name+"-again", vfs.WriteCategoryUnspecified); err != nil {
					t.Error(err)
				} else {
					f.Close()
				}
				if l, err := m.Lock(name + "-lock"); err != nil {
					t.Error(err)
				} else {
					l.Close()
				}
			}
		})
	}
	wg.Go(func() {
		for range rounds {
			m.CrashClone(vfs.CrashCloneCfg{})
		}
	})
	wg.Wait()
}
