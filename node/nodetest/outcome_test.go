package nodetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

// A repeat on another node is the stored result, and waits like the write itself.
func TestRepeatOnAnotherNode(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	ctx, once := t.Context(), client.IdempotencyKey("one-and-only")
	first, err := c.API(0).CreateKey(ctx, newKey("a"), once)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Nodes {
		again, err := c.API(i).CreateKey(ctx, newKey("a"), once)
		if err != nil || again.ID != first.ID || again.Secret != nil || !again.SecretWithheld {
			t.Errorf("n%d answers %+v, %v", i+1, again, err)
		}
		if _, err := c.API(i).CreateKey(ctx, newKey("b"), once); code(err) != fault.IdempotencyMismatch {
			t.Errorf("n%d takes another body: %v", i+1, err)
		}
	}

	// With a node cut off the first answer comes when its lease is over, and so does
	// the answer to a repeat that is made meanwhile.
	leader := c.Leader()
	other := c.Follower(leader)
	cut := c.Follower(leader, other)
	c.Isolate(cut)
	var all sync.WaitGroup
	for _, i := range []int{leader, other} {
		all.Go(func() {
			if r := revoke(c, i, first.ID, client.IdempotencyKey("revoke")); r == nil || !r.Effective {
				t.Errorf("receipt %+v", r)
			}
			if a := c.Nodes[cut].Get(*first.Secret); a.Status == 200 {
				t.Errorf("n%d admits the key after an answer", cut+1)
			}
		})
	}
	all.Wait()
}

// Without a majority a write is refused, in time and with the time after which to try
// again; reads too.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	left := c.Follower()
	for i := range c.Nodes {
		if i != left {
			c.Kill(i)
		}
	}
	c.Until("the node reports that there is no leader", func() error {
		s := status(c, left)
		if s == nil || s.Leader != "" || s.Healthy || !strings.Contains(strings.Join(s.Reasons, ";"), "no leader") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	began := time.Now()
	_, err := c.API(left).CreateKey(t.Context(), newKey("a"))
	took := time.Since(began)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.NoLeader || f.RetryAfter < 1 {
		t.Errorf("%v", err)
	}
	if took > 2500*time.Millisecond+slack {
		t.Errorf("it took %v", took)
	}
	if _, err := c.API(left).ListKeys(t.Context(), client.KeyFilter{}); code(err) != fault.NoLeader {
		t.Errorf("a read: %v", err)
	}
	c.Until("the node is not ready", func() error {
		if code, _ := fetch(c.Nodes[left].Proxy() + "/readyz"); code != http.StatusServiceUnavailable {
			return fmt.Errorf("/readyz %d", code)
		}
		return nil
	})
}

// The outcome of writes is unknown to a leader that is cut off in the middle of them,
// and its answers tell so; a repeat elsewhere settles it, once.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	leader := c.Leader()
	outcomes := cutUnderWrites(c, leader)
	next := -1
	c.Until("another node leads", func() error {
		for i := range c.Nodes {
			if s := status(c, i); i != leader && s != nil && s.Leader == c.Nodes[i].Setup.Name {
				next = i
				return nil
			}
		}
		return errors.New("none does")
	})
	unknown := 0
	for name, outcome := range outcomes {
		switch outcome {
		case "", fault.NoLeader:
		case fault.UnknownOutcome:
			unknown++
		default:
			t.Errorf("%s: %s", name, outcome)
		}
		c.Until("the repeat is accepted", func() error {
			_, err := c.API(next).CreateKey(t.Context(), newKey(name), client.IdempotencyKey(name))
			return err
		})
	}
	if unknown == 0 {
		t.Error("no outcome was unknown: the cut hit no write")
	}
	found := map[string]int{}
	for k, err := range c.API(next).Keys(t.Context(), client.KeyFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		found[k.Name]++
	}
	for name := range outcomes {
		if found[name] != 1 {
			t.Errorf("%s was made %d times", name, found[name])
		}
	}
	c.Heal()
	c.WaitHealthy()
}

// cutUnderWrites has clients make keys through node i, cuts it off when they are
// under way, and returns the outcome of each write by the key's name; "" made it.
func cutUnderWrites(c *nodetest.Cluster, i int) map[string]fault.Code {
	const writers, enough = 8, 32
	var (
		mu       sync.Mutex
		outcomes = map[string]fault.Code{}
		cut      = make(chan struct{}) // closed when the node is cut off
		all      sync.WaitGroup
	)
	api := c.API(i)
	for w := range writers {
		all.Go(func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("w%d-%d", w, n)
				before := isClosed(cut)
				_, err := api.CreateKey(context.Background(), newKey(name), client.IdempotencyKey(name))
				mu.Lock()
				outcomes[name] = code(err)
				mu.Unlock()
				if before && err != nil {
					return
				}
			}
		})
	}
	c.Until("writes are under way", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(outcomes) < enough {
			return fmt.Errorf("%d of %d are answered", len(outcomes), enough)
		}
		return nil
	})
	c.Isolate(i)
	close(cut)
	all.Wait()
	return outcomes
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A management read on any node shows a write that another one has just answered,
// also where the reader lags behind.
func TestReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	c.Delay(3 * time.Millisecond)
	id, _ := c.Key(0, "a")
	for n := range 30 {
		writer, reader := n%3, (n+1+n/3%2)%3
		name := fmt.Sprintf("name-%d", n)
		// An election may refuse either call; a repeated call is still in order.
		c.Until(fmt.Sprintf("n%d has written %s", writer+1, name), func() error {
			_, err := c.API(writer).UpdateKey(t.Context(), id, client.Patch{"name": name})
			return err
		})
		var k *client.Key
		c.Until(fmt.Sprintf("n%d has read", reader+1), func() (err error) {
			k, err = c.API(reader).GetKey(t.Context(), id)
			return err
		})
		if k.Name != name {
			t.Errorf("n%d wrote %s, n%d reads %s", writer+1, name, reader+1, k.Name)
		}
	}
}
