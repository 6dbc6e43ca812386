package nodetest_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/nodetest"
)

// A leader whose state machine stands still, for whatever reason, leads no more: another node
// takes over, changes go on, and no request fails. When it gets on, it catches up.
func TestStalledLeader(t *testing.T) {
	c := nodetest.New(t, 3)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	var stalls atomic.Int32 // the number of the node that is to stall, from 1; 0: none
	for i, n := range c.Nodes {
		n.Setup.DiskLimit = 2 * time.Second
		n.Setup.Applying = func(logs []*raft.Log) {
			for _, l := range logs {
				if bytes.Contains(l.Data, []byte("a change that stalls")) && stalls.CompareAndSwap(int32(i+1), 0) {
					<-release
				}
			}
		}
		n.Start()
	}
	c.WaitHealthy()
	was := c.Leader()
	other := c.API((was + 1) % 3)
	stalls.Store(int32(was + 1))
	go other.CreateKey(context.Background(), newKey("a change that stalls")) // its outcome is unknown
	c.Nodes[was].WaitLog("this node led and did not get on; another one leads")
	c.Until("a key is created at another node", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := other.CreateKey(ctx, newKey("after"))
		if err != nil {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
	release <- struct{}{}
	c.WaitHealthy()
}
