package manage_test

import (
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
)

// A rotation keeps the counts of the key, once all nodes of the cluster can.
func TestRotationKeepsCounts(t *testing.T) {
	g := apitest.New(t)
	ids, _ := rotated(g, 3)
	lineage := func(id string) *store.Lineage {
		t.Helper()
		k, err := g.Store.Key(store.KeyID(id))
		if err != nil || k == nil {
			t.Fatal(k, err)
		}
		return k.Lineage
	}
	for i, id := range ids {
		if l := lineage(id); i > 0 && (l == nil || string(l.ID) != ids[0]) || i == 0 && l != nil {
			t.Errorf("key %d: %+v", i, l)
		}
	}
	at := time.Now().UTC()
	for _, change := range []store.Change{
		&store.ClusterOpen{CA: []byte("ca"), CAKey: []byte("key"), Gossip: make([]byte, 32)},
		&store.MemberPut{Member: store.Member{ID: "n2", Name: "n2", Address: "10.0.0.2:7000", Level: store.LevelOfCounts - 1, JoinedAt: at}},
	} {
		rc, err := g.Backend.Apply(&store.Command{At: at, Actor: store.Actor{Type: store.ActorSystem, ID: "system"}, Change: change})
		if err != nil || rc.Refusal != nil {
			t.Fatal(err, rc.Refusal)
		}
	}
	old, _ := rotated(g, 2)
	if l := lineage(old[1]); l != nil {
		t.Errorf("beside a node that cannot: %+v", l)
	}
}
