package nodetest_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// asker keeps asking a node with a key and counts its answers.
type asker struct {
	asked, admitted atomic.Int64
	stop, done      chan struct{}
}

// keepAsking asks for the verdict without a pause, and sends a request through the
// proxy now and then: those need a chunk of the month as well, which a node that is
// cut off does not get, and would soon be refused for that alone.
func keepAsking(n *nodetest.Node, key string) *asker {
	a := &asker{stop: make(chan struct{}), done: make(chan struct{})}
	proxy, api, free := n.Proxy(), n.API(), false
	go func() {
		defer close(a.done)
		for {
			select {
			case <-a.stop:
				return
			default:
			}
			began := a.asked.Add(1)
			passed := false
			if began%50 == 0 {
				passed = n.RequestAt(proxy, "GET", "/x", key).Status == 200
			} else {
				v, err := api.VerifyKey(context.Background(), client.VerifyRequest{Key: key, Consume: &free})
				passed = err == nil && v.Valid
			}
			if passed {
				a.admitted.Store(began)
			}
		}
	}()
	return a
}

// moment is a number that only later requests exceed.
func (a *asker) moment() int64 { return a.asked.Load() }

// more waits for n more requests.
func (a *asker) more(c *nodetest.Cluster, n int64) {
	end := a.asked.Load() + n
	c.Until("some requests more were answered", func() error {
		if a.asked.Load() < end {
			return errors.New("they were not")
		}
		return nil
	})
}

func (a *asker) end() {
	close(a.stop)
	<-a.done
}

// A removed node does not serve any more when the removal is answered, ends with a
// message, and cannot join again before its disk is emptied.
func TestRemoveNode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	_, key := c.Key(0, "a")
	out := c.Follower()
	n, leader := c.Nodes[out], c.Leader()
	ask := keepAsking(n, key)
	ask.more(c, 200)

	if _, err := c.API(leader).RemoveNode(t.Context(), "nobody"); code(err) != fault.NotFound {
		t.Errorf("an unknown node: %v", err)
	}
	if _, err := c.API(out).RemoveNode(t.Context(), c.Nodes[leader].Setup.Name); code(err) != fault.Conflict {
		t.Errorf("the leader: %v", err)
	}
	var got *client.Deleted
	c.Until("the removal is answered", func() (err error) { // an election may refuse it
		got, err = c.API(c.Follower(out)).RemoveNode(t.Context(), n.Setup.Name)
		return err
	})
	moment := ask.moment()
	if r := got.Revocation; r == nil || !r.Effective {
		t.Errorf("answer %+v", got)
	}
	ask.more(c, 20)
	if ask.admitted.Load() > moment {
		t.Error("the removed node admitted a request after the answer")
	}
	if exit := n.WaitExit(); exit != 1 {
		t.Errorf("exit code %d", exit)
	}
	ask.end()
	const sentence = "this node was removed from the cluster; to take it back, empty its data directory"
	if n.Log.Count(sentence) == 0 {
		t.Errorf("it does not log %q", sentence)
	}
	if slices.Contains(names(c, leader), n.Setup.Name) {
		t.Error("it is still listed")
	}

	n.Start()
	n.WaitExit()
	if n.Log.Count(sentence) < 2 {
		t.Error("started again it does not log why it ends")
	}

	n.Wipe()
	n.Start()
	c.WaitHealthy()
	if a := n.Get(key); a.Status != 200 {
		t.Errorf("after it joined again it answers %v", a)
	}
}

// A node that is cut off is removed when its lease is over, and learns of it when
// it is back.
func TestRemoveIsolatedNode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	_, key := c.Key(leader, "a")
	out := c.Follower()
	n := c.Nodes[out]
	ask := keepAsking(n, key)
	defer ask.end()
	ask.more(c, 200)
	c.Isolate(out)
	var got *client.Deleted
	c.Until("the removal is answered", func() (err error) {
		got, err = c.API(leader).RemoveNode(t.Context(), n.Setup.Name)
		return err
	})
	moment := ask.moment()
	if r := got.Revocation; r == nil || !r.Effective {
		t.Errorf("answer %+v", got)
	}
	ask.more(c, 20)
	if ask.admitted.Load() > moment {
		t.Error("the removed node admitted a request after the answer")
	}
	if err := n.Failed(); err != nil {
		t.Errorf("cut off it cannot know, yet %v", err)
	}
	c.Heal()
	n.WaitExit()
	c.WaitHealthy()
}
