package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// Leases are granted by the commit and not by apply: where no node applies anything for
// longer than a lease, because of large writes, all of them still serve by leases that
// were renewed meanwhile.
func TestLeasesWhileApplyHangs(t *testing.T) {
	g := start(t, 3)
	leader := g.leader()
	g.apply.Lock()
	held := time.Now()
	release := sync.OnceFunc(g.apply.Unlock)
	defer release()
	applied := leader.Store().Applied()
	written := make(chan error, 1)
	go func() {
		_, err := leader.Write(t.Context(), replicatest.CreateKey(1))
		written <- err
	}()
	lease := g.configOf(0, 3).Lease
	g.until("every lease from before to end", func() error {
		if left := 2*lease - time.Since(held); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	g.until("every node to serve while nothing is applied", func() error {
		for _, m := range g.members {
			if !m.Serving() {
				return fmt.Errorf("%s has no lease", m.name)
			}
		}
		return nil
	})
	for _, m := range g.members {
		if now := m.Store().Applied(); now > applied {
			t.Errorf("%s has applied %d, after %d: nothing is held, and this test tests nothing", m.name, now, applied)
		}
	}
	select {
	case err := <-written:
		t.Errorf("the write was answered before it was applied: %v", err)
	default:
	}
	release()
	if err := <-written; err != nil {
		t.Errorf("the write that waited: %v", err)
	}
}
