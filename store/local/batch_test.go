package local

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// Many events fill memtables one after the other: no batch is so large that it becomes tables
// of its own.
func TestBatchesFitIntoMemtables(t *testing.T) {
	l := ticking(t, Config{FS: vfs.NewMem(), Dir: "l"})
	o := typical()
	for i := range 200_000 {
		o.At, o.Key = day0.Add(time.Duration(i)*time.Millisecond), store.KeyID([]string{"key_a", "key_b"}[i%2])
		l.Observe(o)
		if i%10_000 == 9_999 {
			if err := l.turn(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := l.db.Flush(); err != nil {
		t.Fatal(err)
	}
	m := l.db.Metrics()
	if written := m.WAL.BytesWritten; m.Flush.Count > int64(written/(2<<20)) {
		t.Errorf("%d octets made %d flushes: some were of less than 2 MiB", written, m.Flush.Count)
	} else {
		t.Logf("%d octets, %d flushes", written, m.Flush.Count)
	}
}
