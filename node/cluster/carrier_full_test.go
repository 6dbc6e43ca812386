package cluster

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// months is an entry that keeps the cluster serving.
func months() []byte {
	return (&store.Command{At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n2"}, Change: &store.Grant{
		Node: "n2", Asks: []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: store.Month(time.Now()), Want: 1}},
	}}).Encode()
}

// revocation is an entry that takes a right away.
func revocation() []byte {
	return (&store.Command{At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n2"}, Account: store.DefaultAccount,
		Change: &store.KeyRevoke{ID: "key_a", Reason: strings.Repeat("x", 200)}}).Encode()
}

// Changes are counted, entries that keep the cluster serving are not, those that take
// rights away are apart, and an entry that cannot be read counts as a change.
func TestChangesOfEntries(t *testing.T) {
	key, revoke := replicatest.CreateKey(1).Encode(), revocation()
	for _, c := range []struct {
		name           string
		log            raft.Log
		want, reserved int
	}{
		{"a key", raft.Log{Type: raft.LogCommand, Data: key}, len(key), 0},
		{"a grant", raft.Log{Type: raft.LogCommand, Data: months()}, 0, 0},
		{"a revocation", raft.Log{Type: raft.LogCommand, Data: revoke}, 0, len(revoke)},
		{"unreadable", raft.Log{Type: raft.LogCommand, Data: []byte("xyz")}, 3, 0},
		{"a configuration", raft.Log{Type: raft.LogConfiguration, Data: bytes.Repeat([]byte{1}, 100)}, 0, 0},
		{"a barrier", raft.Log{Type: raft.LogBarrier}, 0, 0},
	} {
		if got, reserved := changes([]*raft.Log{&c.log}); got != c.want || reserved != c.reserved {
			t.Errorf("%s: %d bytes and %d, must be %d and %d", c.name, got, reserved, c.want, c.reserved)
		}
	}
	if got, reserved := changes([]*raft.Log{{Data: []byte("ab")}, {Data: months()}, {Data: []byte("c")}, {Data: revoke}}); got != 3 || reserved != len(revoke) {
		t.Errorf("together: %d and %d", got, reserved)
	}
}

// takeAll takes whatever the carrier hands on, until the test ends.
func takeAll(t *testing.T, c *carrier) {
	go func() {
		for {
			select {
			case rpc := <-c.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
}

// A node takes fullTakes bytes of changes after its disk ran full, and any number
// of grants, until it refuses a change: the log has no gaps, so it then refuses the
// entries after that one, too. With space again it takes everything.
func TestCarrierOfAFullDisk(t *testing.T) {
	t.Parallel()
	leader, follower := transport(t), transport(t)
	var full atomic.Bool
	var noticed atomic.Int64
	c := newCarrier(follower, nil, full.Load, func() { noticed.Add(1) })
	t.Cleanup(func() { c.Close() })
	takeAll(t, c)
	send := func(data ...[]byte) error {
		req := &raft.AppendEntriesRequest{Term: 1}
		for _, d := range data {
			req.Entries = append(req.Entries, &raft.Log{Type: raft.LogCommand, Data: d})
		}
		return leader.AppendEntries("f", follower.LocalAddr(), req, new(raft.AppendEntriesResponse))
	}
	large := bytes.Repeat([]byte("x"), fullTakes/2)
	for _, step := range []struct {
		name    string
		full    bool
		data    []byte
		refused bool
		noticed int64
	}{
		{"with space", false, large, false, 0},
		{"with space, beyond the bound", false, append(large, large...), false, 0},
		{"full: the first half", true, large, false, 1},
		{"full: the second half", true, large, false, 1},
		{"full: a grant, at the bound", true, months(), false, 1},
		{"full: a heartbeat, at the bound", true, nil, false, 1},
		{"full: a revocation, at the bound", true, revocation(), false, 1},
		{"full: one byte more", true, []byte("x"), true, 1},
		{"full: a grant after a change that was refused", true, months(), true, 1},
		{"space again", false, append(large, large...), false, 1},
		{"full again: counted from the start", true, large, false, 2},
	} {
		full.Store(step.full)
		var data [][]byte
		if step.data != nil {
			data = append(data, step.data)
		}
		err := send(data...)
		if step.refused != (err != nil) || err != nil && !strings.Contains(err.Error(), errDiskFull.Error()) {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := noticed.Load(); got != step.noticed {
			t.Errorf("%s: noticed %d times", step.name, got)
		}
	}
}

// Changes that take rights away have a bound of their own.
func TestCarrierBoundsReservedChanges(t *testing.T) {
	t.Parallel()
	leader, follower := transport(t), transport(t)
	c := newCarrier(follower, nil, func() bool { return true }, func() {})
	t.Cleanup(func() { c.Close() })
	takeAll(t, c)
	entry := &raft.Log{Type: raft.LogCommand, Data: revocation()}
	n := reserveTakes / len(entry.Data)
	for _, step := range []struct {
		entries int
		refused bool
	}{{n - 1, false}, {1, false}, {1, true}} {
		req := &raft.AppendEntriesRequest{Term: 1, Entries: slices.Repeat([]*raft.Log{entry}, step.entries)}
		if err := leader.AppendEntries("f", follower.LocalAddr(), req, new(raft.AppendEntriesResponse)); step.refused != (err != nil) {
			t.Errorf("%d more: %v", step.entries, err)
		}
	}
}

// A message that another way delivered reaches Raft like any other, and does not
// outlive its caller's patience.
func TestDeliver(t *testing.T) {
	t.Parallel()
	tr, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, time.Second, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	c := newCarrier(tr, nil, nil, nil)
	got := make(chan uint64, 1)
	go func() {
		rpc := <-c.Consumer()
		got <- rpc.Command.(*raft.AppendEntriesRequest).Term
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	}()
	c.Deliver(t.Context(), &raft.AppendEntriesRequest{Term: 9})
	if term := <-got; term != 9 {
		t.Errorf("Raft got term %d", term)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c.Deliver(t.Context(), &raft.AppendEntriesRequest{Term: 10}) // returns, though nothing reads it
}
