package replica

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/raftlog"
)

// Everything that waits for the log's disk is watched, and reported as what it is.
func TestWatchedOperations(t *testing.T) {
	var hang atomic.Pointer[chan struct{}] // fsyncs wait until it is closed
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if end := hang.Load(); end != nil && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			<-*end
		}
		return nil
	}))
	log, err := raftlog.Open(raftlog.Config{FS: fs, Dir: "log", Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var stored tail
	for _, tt := range []struct {
		name string
		do   func(w watchedLog) error
	}{
		{"a write", func(w watchedLog) error { return w.StoreLog(&raft.Log{Index: 1, Data: []byte("123")}) }},
		{"a write", func(w watchedLog) error {
			return w.StoreLogs([]*raft.Log{{Index: 2, Data: []byte("4567")}, {Index: 3}})
		}},
		{"a deletion", func(w watchedLog) error { return w.DeleteRange(3, 3) }},
		{"a vote", func(w watchedLog) error { return w.Set([]byte("vote"), []byte("n1")) }},
		{"a term", func(w watchedLog) error { return w.SetUint64([]byte("term"), 7) }},
	} {
		end := make(chan struct{})
		said, once := "", sync.Once{}
		goOn := func(text string) { once.Do(func() { said = text; close(end) }) }
		giveUp := time.AfterFunc(30*time.Second, func() { goOn("nothing for 30 s") })
		hang.Store(&end)
		if err := tt.do(watchedLog{log, 10 * time.Millisecond, func(err error, _ time.Duration) bool { goOn(err.Error()); return false }, &stored}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		giveUp.Stop()
		hang.Store(nil)
		if want := "raft log: " + tt.name + " has been waiting for the disk for 10ms: the disk hangs"; said != want {
			t.Errorf("said is %q, want %q", said, want)
		}
	}
	last, err := log.LastIndex()
	if term, e := log.GetUint64([]byte("term")); err != nil || e != nil || last != 2 || term != 7 {
		t.Errorf("the log ends at %d (%v) in term %d (%v)", last, err, term, e)
	}
	if n, e := stored.written.Load(), stored.entries.Load(); n != 7 || e != 3 {
		t.Errorf("%d bytes in %d entries were counted, want 7 in 3", n, e)
	}
}
