package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// matches is how far the log of each server agrees with that of this node, as its
// leader. Raft knows, and does not tell; the carrier sees the answers.
type matches struct {
	mu    sync.Mutex
	term  uint64 // of index; indexes of older terms are dropped
	index map[raft.ServerID]uint64
}

// note takes the answer of a server over.
func (m *matches) note(id raft.ServerID, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) {
	if !resp.Success || args.PrevLogEntry == 0 && len(args.Entries) == 0 {
		return // a heartbeat compares nothing
	}
	last := args.PrevLogEntry
	if n := len(args.Entries); n > 0 {
		last = args.Entries[n-1].Index
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case args.Term < m.term:
		return
	case args.Term > m.term || m.index == nil:
		m.term, m.index = args.Term, map[raft.ServerID]uint64{}
	}
	m.index[id] = max(m.index[id], last)
}

// of is the last index up to which the server has this leader's log in term, 0 if
// nothing is known.
func (m *matches) of(id raft.ServerID, term uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.term != term {
		return 0
	}
	return m.index[id]
}
