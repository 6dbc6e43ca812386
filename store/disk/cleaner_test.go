package disk

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log whose content was flushed is removed at once, not kept to be written over.
func TestCleanerKeepsNoLog(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, Cleaner: Cleaner{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var logs []string
	for range 3 {
		if err := db.Set([]byte("a"), []byte("b"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); ; <-tick.C {
			names, err := fs.List("db")
			if err != nil {
				t.Fatal(err)
			}
			logs = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
			if len(logs) == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("waited 30 s until one log is left: %q", logs)
			}
		}
	}
	if names, err := fs.List("db"); err != nil || slices.Contains(names, "archive") {
		t.Errorf("files: %q, %v", names, err)
	}
}
