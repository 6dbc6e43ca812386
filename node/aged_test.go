package node

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/store"
)

// A node's own data grows old by cluster time, which goes on by the monotonic clock
// while the log is idle; without one, by the wall clock.
func TestAged(t *testing.T) {
	s, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	src := &source{store: s, clock: clock.New()}
	aged := src.aged()
	near := func(got, want time.Time) bool { d := got.Sub(want); return d >= 0 && d < time.Minute }
	if got := aged(); !near(got, time.Now().Add(-time.Second)) {
		t.Errorf("without cluster time it is %v", got)
	}
	from := time.Now().Add(-time.Hour).UTC()
	cmd := &store.Command{At: from, Actor: store.Actor{Type: store.ActorSystem}, Change: &store.Init{ClusterID: "c", DefaultTier: "free"}}
	s.Apply(&raft.Log{Index: 1, Term: 1, Type: raft.LogCommand, Data: store.Stamp{Wall: from.UnixNano()}.Put(cmd.Encode())})
	src.clock.SetWrong(365 * 24 * time.Hour)
	first := aged()
	if !near(first, from) {
		t.Errorf("it begins at %v, cluster time is %v", first, from)
	}
	if second := aged(); !second.After(first) || !near(second, from) {
		t.Errorf("with a wrong wall clock it goes from %v to %v", first, second)
	}
}
