package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

// The gossip key that a removed node knows is not used any more, and the members
// that are left go on to gossip.
func TestGossipKeyChangesWithARemoval(t *testing.T) {
	g := start(t, 3)
	_, out := g.follower()
	stay := slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m == out })
	old := stay[0].Store().Trust().Gossip[0]
	if _, err := g.leader().RemoveNode(t.Context(), out.name, false, store.Actor{Type: store.ActorOperator, ID: "op"}); err != nil {
		t.Fatal(err)
	}
	if err := <-out.fatal; err == nil {
		t.Error("the removed node ends without a reason")
	}
	want := []string{stay[0].Identity().ID, stay[1].Identity().ID}
	slices.Sort(want)
	for _, m := range stay {
		g.until("a new gossip key", func() error {
			if now := m.Store().Trust().Gossip[0]; bytes.Equal(now, old) || len(now) != 32 {
				return errors.New("the key is the old one")
			}
			return nil
		})
		g.until("gossip to know the two that are left", func() error {
			if got := m.Alive(); !slices.Equal(got, want) {
				return fmt.Errorf("it knows %v", got)
			}
			return nil
		})
	}
}

// A node signs itself a new certificate before the old one ends, and goes on.
func TestCertificateIsRenewed(t *testing.T) {
	g := start(t, 3)
	_, m := g.follower()
	first, saved, err := m.Credentials()
	if err != nil || !bytes.Equal(first.Cert, saved.Cert) {
		t.Fatal("the certificate in use is not the one on the disk", err)
	}
	if err := m.Certify(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if same, _, _ := m.Credentials(); same != first {
		t.Error("it was renewed after an hour")
	}
	// In time: before it ends.
	if err := m.Certify(first.Expiry().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	// By its own clock that one begins in the future, so that it makes another at once.
	g.until("a new certificate, in use and on the disk", func() error {
		next, saved, err := m.Credentials()
		if err != nil || next == first || !bytes.Equal(next.Cert, saved.Cert) || next.Expiry().Before(first.Expiry()) {
			return fmt.Errorf("it was not renewed an hour before its end, %v", err)
		}
		return nil
	})
	if err := m.Certify(time.Now()); err != nil {
		t.Fatal(err)
	}
}

// A state that was restored names the cluster that it was taken from until the
// entry after it is applied. A node that comes back with such a state keeps the
// certificate of the cluster that it joined.
func TestCertificateIsNotOfAnOlderState(t *testing.T) {
	g := start(t, 3)
	i, m := g.follower()
	used, _, err := m.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	g.net.Isolate(i)
	g.until("the node to be without a lease", func() error {
		if m.Lacks() {
			return nil
		}
		return errors.New("it has one")
	})
	newer := *used
	newer.ClusterID = "cl_newer"
	m.UseCredentials(&newer)
	if err := m.Certify(time.Now()); err != nil {
		t.Fatal(err)
	}
	if now, _, _ := m.Credentials(); now != &newer {
		t.Error("it made itself a certificate of the older cluster")
	}
	g.net.Heal()
	g.until("the node to have a certificate of its state's cluster again", func() error {
		if now, _, _ := m.Credentials(); now.ClusterID == used.ClusterID {
			return nil
		}
		return errors.New("it has not")
	})
}
