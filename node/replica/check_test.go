package replica

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/raftlog"
)

// A suffix with entries that were applied stays, and ends the node; the others go, and so
// do entries at the front and all of them.
func TestKeepsApplied(t *testing.T) {
	for name, tt := range map[string]struct {
		first, last, applied uint64
		kept                 bool
	}{
		"a suffix that is not applied":       {8, 10, 7, false},
		"a suffix with an applied entry":     {8, 10, 8, true},
		"the last entry, applied":            {10, 10, 10, true},
		"the front":                          {1, 5, 10, false},
		"everything, restored from a leader": {1, 10, 20, false},
	} {
		log, err := raftlog.Open(raftlog.Config{FS: vfs.NewMem(), Dir: "log", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(10) {
			if err := log.StoreLog(&raft.Log{Index: i + 1, Term: 1}); err != nil {
				t.Fatal(err)
			}
		}
		var lost error
		k := keptLog{
			watchedLog{log, storeLimit, func(err error, _ time.Duration) bool { t.Error(err); return false }, new(tail)},
			func() uint64 { return tt.applied }, func(err error) { lost = err },
		}
		err = k.DeleteRange(tt.first, tt.last)
		if (err != nil) != tt.kept || !errors.Is(err, lost) || tt.kept && !disk.Damaged(lost) {
			t.Errorf("%s: %v, the node ends with %v", name, err, lost)
		}
		var l raft.Log
		if err := log.GetLog(tt.last, &l); (err == nil) != tt.kept {
			t.Errorf("%s: its last entry: %v", name, err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
