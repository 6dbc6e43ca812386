package node_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node"
	"github.com/perfgate/perfgate/node/nodetest"
)

// What a removed node knows of the gossip is worth nothing afterwards, and those
// that are left gossip on.
func TestGossipKeyChangesWithARemoval(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	out := c.Follower()
	stay := []*node.Node{c.Nodes[c.Leader()].Node(), c.Nodes[c.Follower(out)].Node()}
	old := stay[0].Store().Trust().Gossip[0]
	if _, err := c.API(c.Leader()).RemoveNode(t.Context(), c.Nodes[out].Setup.Name); err != nil {
		t.Fatal(err)
	}
	c.Nodes[out].WaitExit()
	want := []string{stay[0].ID(), stay[1].ID()}
	slices.Sort(want)
	for _, n := range stay {
		if now := n.Store().Trust().Gossip[0]; bytes.Equal(now, old) || len(now) != 32 {
			t.Error("the key is the old one")
		}
		c.Until("gossip knows the two that are left", func() error {
			if got := n.Alive(); !slices.Equal(got, want) {
				return fmt.Errorf("it knows %v", got)
			}
			return nil
		})
	}
}

// A node signs itself a new certificate before the old one ends, and goes on.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	n := c.Nodes[c.Follower()].Node()
	first, saved, err := n.Credentials()
	if err != nil || !bytes.Equal(first.Cert, saved.Cert) {
		t.Fatal("the certificate in use is not the one on the disk", err)
	}
	if err := n.Certify(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if same, _, _ := n.Credentials(); same != first {
		t.Error("it was renewed after an hour")
	}
	// In time: before it ends.
	if err := n.Certify(first.Expiry().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	next, saved, err := n.Credentials()
	if err != nil || next == first || !bytes.Equal(next.Cert, saved.Cert) || !next.Expiry().After(first.Expiry()) {
		t.Fatalf("it was not renewed an hour before its end, %v", err)
	}
	if err := n.Certify(time.Now()); err != nil {
		t.Fatal(err)
	}
}

// A state that was restored names the cluster that it was taken from until the
// entry behind it is applied. A node that comes back with such a state keeps the
// certificate of the cluster that let it in.
func TestCertificateIsNotOfAnOlderState(t *testing.T) {
	t.Parallel()
	c := nodetest.Start(t, 3)
	i := c.Follower()
	n := c.Nodes[i].Node()
	used, _, err := n.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	c.Isolate(i)
	c.Until("the node is without a lease", func() error {
		if n.Lacks() {
			return nil
		}
		return fmt.Errorf("it has one")
	})
	newer := *used
	newer.ClusterID = "cl_newer"
	n.UseCredentials(&newer)
	if err := n.Certify(time.Now()); err != nil {
		t.Fatal(err)
	}
	if now, _, _ := n.Credentials(); now != &newer {
		t.Error("it made itself a certificate of the older cluster")
	}
	c.Heal()
	c.Until("the node, which is up to date again, has a certificate of its state's cluster", func() error {
		if now, _, _ := n.Credentials(); now.ClusterID == used.ClusterID {
			return nil
		}
		return fmt.Errorf("it has not")
	})
}
