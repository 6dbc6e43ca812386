package notify

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// Failures are counted over all nodes: a storm of which no node sees enough gives one event, with
// the failures of all, and a small number on each gives none.
func TestStormOverNodes(t *testing.T) {
	for _, c := range []struct {
		each, storms int
		nodes        int
	}{{6, 0, 3}, {7, 1, 3}, {7, 1, 3}, {40, 1, 3}, {19, 0, 1}, {20, 1, 1}, {1, 1, 30}} {
		l := newLedger(t)
		synctest.Test(t, func(t *testing.T) {
			nodes := make([]*Alerts, c.nodes)
			for i := range nodes {
				nodes[i] = l.alerts(time.Now)
				nodes[i].cfg.Nodes = func() int { return c.nodes }
				nodes[i].cfg.Everywhere = func(_ context.Context, account store.AccountID) (list [][]byte) {
					for _, a := range nodes {
						list = append(list, a.Failing(account))
					}
					return list
				}
				defer run(nodes[i])()
			}
			fail := func() {
				for range c.each {
					for _, a := range nodes {
						a.Failed("", fault.InvalidKey, "pk_live_0123…STUV", client)
						synctest.Wait()
					}
				}
			}
			fail()
			types, bodies := l.notices(t)
			if strings.Join(types, " ") != strings.TrimSpace(strings.Repeat("auth.failures ", c.storms)) {
				t.Errorf("%+v: notices %v", c, types)
			}
			if c.storms > 0 && !strings.Contains(bodies[0], `"failures":2`) { // 20 or 21
				t.Errorf("%+v: %s", c, bodies[0])
			}
			// Failures of long ago do not count.
			time.Sleep(2 * time.Hour)
			for range manyFailures - 1 {
				nodes[0].Failed("", fault.InvalidKey, "", client)
				time.Sleep(failureSpan / 4)
			}
			synctest.Wait()
			if later, _ := l.notices(t); len(later) != len(types) {
				t.Errorf("%+v: notices %v of slow failures", c, later)
			}
		})
	}
}
