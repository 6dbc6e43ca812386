package node

import (
	"context"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store"
)

// machine is the replicated state as Raft drives it: it adds to each answer the
// term of its entry, and wakes those who wait for an index.
type machine struct {
	*store.Store
	applied *progress
}

// answer is what becomes of a command: store's answer, and its entry's term.
type answer struct {
	response any
	term     uint64
}

// Apply implements [raft.FSM].
func (m machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements [raft.BatchingFSM].
func (m machine) ApplyBatch(logs []*raft.Log) []any {
	out := m.Store.ApplyBatch(logs)
	for i := range out {
		out[i] = answer{out[i], logs[i].Term}
	}
	m.applied.changed()
	return out
}

// Restore implements [raft.FSM].
func (m machine) Restore(src io.ReadCloser) error {
	defer m.applied.changed()
	return m.Store.Restore(src)
}

// progress lets goroutines wait until the state has applied an index. The index
// is the store's own, which it publishes behind its caches.
type progress struct {
	index func() uint64

	mu   sync.Mutex
	next chan struct{} // closed at the next change; nil while nobody waits
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
