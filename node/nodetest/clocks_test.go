package nodetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/nodetest"
)

const day = 24 * time.Hour

// created lists the keys of which node i has the audit event of their creation.
func created(t *testing.T, c *nodetest.Cluster, i int) (ids []string) {
	t.Helper()
	for e, err := range c.API(i).Events(t.Context(), client.AuditQuery{Action: "key.create"}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.KeyID)
	}
	return ids
}

// keeps checks that every node has the audit event of a key's creation.
func keeps(t *testing.T, c *nodetest.Cluster, id string) {
	t.Helper()
	for i, n := range c.Nodes {
		if got := created(t, c, i); !slices.Contains(got, id) {
			t.Errorf("%s has lost the event of %s: %v", n.Setup.Name, id, got)
		}
	}
}

// certificate is the node's, as on its disk.
func certificate(t *testing.T, n *nodetest.Node) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Dir, "cluster", "node.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A follower whose clock is wrong changes nothing, signs nothing and gets no traffic,
// until its clock is right again. Nothing is lost on any node.
func TestFollowerWithAWrongClock(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	old, _ := c.Key(c.Leader(), "old")
	wrong := c.Follower()
	n := c.Nodes[wrong]
	signed := certificate(t, n)
	for _, ahead := range []time.Duration{31 * day, 130 * day, -31 * day} {
		n.SetClock(ahead)
		_, err := c.API(wrong).CreateKey(t.Context(), newKey("refused"))
		if code(err) != fault.Unavailable || !strings.Contains(err.Error(), "clock") {
			t.Errorf("%v ahead: a write is answered %v", ahead, err)
		}
		if code, body := fetch(n.Proxy() + "/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("%v ahead: /readyz is %d %s", ahead, code, body)
		}
		n.WaitLog("this node makes no changes and does not lead")
		c.Until("the leader reports the clock", func() error {
			s := status(c, c.Follower(wrong))
			if s == nil || !strings.Contains(strings.Join(s.Reasons, "; "), n.Setup.Name+": its clock is") {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		})
		c.Key(c.Follower(wrong), "beside") // the others go on
		n.SetClock(0)
		c.WaitHealthy()
		c.Key(wrong, "right again")
		keeps(t, c, old)
	}
	if !bytes.Equal(certificate(t, n), signed) {
		t.Error("it has signed itself another certificate")
	}
}

// A leader whose clock jumps makes no change any more, and another node leads; the states
// keep their data.
func TestLeaderWithAWrongClock(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	wrong := c.Leader()
	old, key := c.Key(wrong, "old")
	n := c.Nodes[wrong]
	n.SetClock(130 * day)
	if _, err := c.API(wrong).CreateKey(t.Context(), newKey("refused")); err == nil {
		t.Error("the leader makes a change")
	}
	c.Until("another node leads", func() error {
		if c.Leader() == wrong {
			return errors.New("the same")
		}
		return nil
	})
	on := c.Follower(wrong)
	c.Key(on, "next")
	repeated(t, c, on)
	n.SetClock(0)
	c.WaitHealthy()
	repeated(t, c, wrong)
	keeps(t, c, old)
	everywhere(t, c, "the clock is right again", key, "200")
}

// repeated makes a repeatable call, twice by node i, which must have one effect.
func repeated(t *testing.T, c *nodetest.Cluster, i int) {
	t.Helper()
	var ids []string
	for range 2 {
		c.Until("a key is created", func() error {
			k, err := c.API(i).CreateKey(context.Background(), newKey("once"), client.IdempotencyKey("once"))
			if err == nil {
				ids = append(ids, k.ID)
			}
			return err
		})
	}
	if ids[0] != ids[1] {
		t.Errorf("the repeat made another key: %v", ids)
	}
}

// A node whose clock is wrong when it signs, which it may before it has met another,
// signs again once the clock is right.
func TestCertificateFromTheFuture(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 1)
	n := c.Nodes[0]
	n.WaitLog("cluster certificate made")
	first := certificate(t, n)
	n.SetClock(31 * day) // it is alone: nobody else's clock tells that this one is wrong
	c.Until("it has signed a certificate for another time", func() error {
		if bytes.Equal(certificate(t, n), first) {
			return errors.New("it has not")
		}
		return nil
	})
	future := certificate(t, n)
	n.SetClock(0)
	c.Until("it has signed one for the present", func() error {
		if bytes.Equal(certificate(t, n), future) {
			return errors.New("it has not")
		}
		return nil
	})
	c.WaitHealthy()
}

// On a lone node, too, a clock that jumps for a while destroys nothing.
func TestLoneNodeWithAWrongClock(t *testing.T) {
	t.Parallel()
	c := nodetest.New(t, 1, func(_ int, s *nodetest.Setup) { s.Listen, s.Secret = "", "" })
	c.Nodes[0].Start()
	c.WaitReady()
	old, key := c.Key(0, "old")
	repeated(t, c, 0)
	for _, ahead := range []time.Duration{31 * day, 130 * day, -400 * day} {
		c.Nodes[0].SetClock(ahead)
		for range 3 {
			c.Key(0, "while it is wrong")
		}
		c.Nodes[0].SetClock(0)
		c.Key(0, "right again")
		keeps(t, c, old)
		repeated(t, c, 0)
	}
	everywhere(t, c, "the clock is right again", key, "200")
}

// Of two nodes whose clocks differ nobody knows which one is wrong. Both serve, and the
// leader makes changes by its own clock; it takes none that has the other's time. Both
// say so in their logs and in the status, until the clocks agree again.
func TestTwoNodesWithDifferentClocks(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 2)
	leader := c.Leader()
	other := c.Follower()
	n := c.Nodes[other]
	for _, ahead := range []time.Duration{day, -day} {
		n.SetClock(ahead)
		first, second := n.Setup.Name, c.Nodes[leader].Setup.Name
		if ahead < 0 {
			first, second = second, first
		}
		want := first + ": the clock is 24h0m0s ahead of " + second
		for i := range c.Nodes {
			c.Until("a node warns of the clocks", func() error {
				s := status(c, i)
				if s == nil || !s.Healthy || !strings.Contains(strings.Join(s.Warnings, "; "), want) {
					return fmt.Errorf("status %+v, want %s", s, want)
				}
				return nil
			})
		}
		c.WaitReady()
		c.Key(leader, "while they differ")
		if _, err := c.API(other).CreateKey(t.Context(), newKey("refused")); code(err) != fault.Unavailable || !strings.Contains(err.Error(), "clock") {
			t.Errorf("a write with the other clock's time is answered %v", err)
		}
		n.WaitLog("this machine's clock differs from the leader's")
		c.Nodes[leader].WaitLog("the nodes' clocks differ")
		n.SetClock(0)
		c.Until("no node warns", func() error {
			if s := status(c, other); s == nil || len(s.Warnings) > 0 {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		})
		c.WaitHealthy()
		c.Key(other, "right again")
	}
}
