package replica

import (
	"context"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
)

// machine is the replicated state as Raft drives it: it adds to each answer the
// term of its entry, and wakes the goroutines that wait for an index.
type machine struct {
	*store.Store
	applied  *progress
	applying func([]*raft.Log) // may be nil
}

// answer is the answer of the store to a command, and the term of its entry.
type answer struct {
	response any
	term     uint64
}

// Apply implements [raft.FSM].
func (m machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// applyBytes is after how many bytes of entries a batch is applied so far, so that
// this node reports an index that others wait for before it goes on.
const applyBytes = 256 << 10

// ApplyBatch implements [raft.BatchingFSM].
func (m machine) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, 0, len(logs))
	for len(logs) > 0 {
		n := 1
		for size := len(logs[0].Data); n < len(logs) && size < applyBytes; n++ {
			size += len(logs[n].Data)
		}
		m.applied.begin()
		if m.applying != nil {
			m.applying(logs[:n])
		}
		for i, response := range m.Store.ApplyBatch(logs[:n]) {
			out = append(out, answer{response, logs[i].Term})
		}
		m.applied.end()
		m.applied.changed()
		logs = logs[n:]
	}
	return out
}

// Restore implements [raft.FSM].
func (m machine) Restore(src io.ReadCloser) error {
	defer m.applied.changed()
	return m.Store.Restore(src)
}

// progress lets goroutines wait until the state has applied an index. The index
// is the store's own, which it publishes after its caches.
type progress struct {
	index func() uint64
	busy

	mu   sync.Mutex
	next chan struct{} // closed at the next change; nil while none waits
}

func (p *progress) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		close(p.next)
		p.next = nil
	}
}

// after returns a channel that is closed at the next change.
func (p *progress) after() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(chan struct{})
	}
	return p.next
}

// wait returns once index is applied, or with ctx's error.
func (p *progress) wait(ctx context.Context, index uint64) error {
	for {
		next := p.after()
		if p.index() >= index {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
