package encfs

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// both runs a benchmark on plain and on encrypted files.
func both(b *testing.B, run func(b *testing.B, fsys vfs.FS)) {
	b.Run("plain", func(b *testing.B) { run(b, vfs.Default) })
	b.Run("encrypted", func(b *testing.B) { run(b, New(vfs.Default, oneKey)) })
}

// One durable write of 600 bytes, as a lone management write.
func BenchmarkDurableWrite(b *testing.B) {
	both(b, func(b *testing.B, fsys vfs.FS) {
		db, err := pebble.Open(b.TempDir(), &pebble.Options{FS: fsys, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, MemTableSize: 8 << 20})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		value := noise(600, 1)
		for i := 0; b.Loop(); i++ {
			if err := db.Set(fmt.Appendf(nil, "key%09d", i), value, pebble.Sync); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One row that is in no cache of Pebble, of 200,000 rows of 300 bytes.
func BenchmarkColdGet(b *testing.B) {
	both(b, func(b *testing.B, fsys vfs.FS) {
		cache := pebble.NewCache(64 << 10)
		defer cache.Unref()
		db, err := pebble.Open(b.TempDir(), &pebble.Options{FS: fsys, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, Cache: cache})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		const n = 200_000
		for i := range n {
			if err := db.Set(fmt.Appendf(nil, "key%09d", i), noise(300, uint64(i)), pebble.NoSync); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.Flush(); err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for b.Loop() {
			_, closer, err := db.Get(fmt.Appendf(nil, "key%09d", rng.IntN(n)))
			if err != nil {
				b.Fatal(err)
			}
			closer.Close()
		}
	})
}
