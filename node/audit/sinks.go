package audit

import (
	"context"
	"sync"

	"github.com/perfgate/perfgate/store"
)

// SinkElsewhere is the farthest that a sink of another node is with the changes: the leader's.
// It is zero where no node answers.
func (l *Log) SinkElsewhere(ctx context.Context, name string) (far store.ChangePos) {
	var mu sync.Mutex
	l.eachPeer(ctx, func(ctx context.Context, m store.Member) {
		out, err := l.ask(ctx, m.ID, &ask{Sinks: true})
		if err != nil {
			return // an earlier version, or a node that is away
		}
		mu.Lock()
		defer mu.Unlock()
		if p := out.Sinks[name]; p.After(far) {
			far = p
		}
	})
	return far
}
