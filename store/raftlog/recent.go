package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// recent keeps the newest entries: those that Raft is about to send to each
// follower, and that a follower is about to apply. Without it each of them is a
// look-up in Pebble of entries written a moment ago.
type recent struct {
	mu   sync.RWMutex
	ring [recentEntries]raft.Log // the entry at its index modulo the length
}

// Bounds of the kept entries: 4 MiB at most.
const (
	recentEntries = 1024
	recentBytes   = 4 << 10 // of one entry; larger ones are read from Pebble
)

func (r *recent) add(entries []*raft.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range entries {
		at := &r.ring[e.Index%recentEntries]
		if len(e.Data)+len(e.Extensions) > recentBytes {
			*at = raft.Log{}
		} else {
			*at = *e
		}
	}
}

// get reports whether the entry is here.
func (r *recent) get(index uint64, out *raft.Log) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	at := &r.ring[index%recentEntries]
	if index == 0 || at.Index != index {
		return false
	}
	*out = *at
	return true
}

func (r *recent) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.ring[:])
}
