package raftlog

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// TestCompactionBesideWrites stores entries while another goroutine removes the
// oldest, as Raft's snapshots do. Each entry must be found as soon as it is stored:
// a follower that misses one panics.
func TestCompactionBesideWrites(t *testing.T) {
	const total, trailing = 2000, 8
	l := open(t, vfs.NewMem())
	stored := make(chan uint64, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for last := range stored {
			if last <= trailing {
				continue
			}
			if err := l.DeleteRange(1, last-trailing); err != nil {
				t.Errorf("remove entries up to %d: %v", last-trailing, err)
			}
		}
	})
	newest := uint64(0)
	for i := uint64(1); i <= total && !t.Failed(); i++ {
		if err := l.StoreLog(entry(i)); err != nil {
			t.Fatal(err)
		}
		var got raft.Log
		if err := l.GetLog(i, &got); err != nil {
			t.Errorf("entry %d right after it was stored: %v", i, err)
			break
		}
		same(t, &got, entry(i))
		select {
		case stored <- i:
		default:
		}
		newest = i
		if i%40 == 0 { // an iterator takes time for each removal that the memtable holds
			if err := l.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stored)
	wg.Wait()
	if t.Failed() {
		return
	}
	if first, _ := l.FirstIndex(); first == 0 || first > newest-trailing+1 {
		t.Errorf("first index is %d after entries up to %d were stored", first, newest)
	}
	if last, _ := l.LastIndex(); last != newest {
		t.Errorf("last index is %d, want %d", last, newest)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
