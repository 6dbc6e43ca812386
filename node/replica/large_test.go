package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// Bytes are shared first come first served: a large caller is not overtaken by small
// ones, one that is larger than the whole goes alone, and one that gives up leaves no
// trace.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := replica.NewRoom(100)
		first := r.Take(t.Context(), 60)
		var got atomic.Int64
		take := func(ctx context.Context, n int) (done chan func()) {
			done = make(chan func(), 1)
			go func() { got.Add(1); done <- r.Take(ctx, n) }()
			synctest.Wait()
			return done
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := take(short, 50)
		huge := take(t.Context(), 1000)
		small := take(t.Context(), 1)
		if len(gone)+len(huge)+len(small) != 0 {
			t.Fatal("somebody got more than there is, or overtook another")
		}
		time.Sleep(2 * time.Second)
		if free := <-gone; free != nil {
			t.Error("bytes were given to a caller that had given up")
		}
		first()
		free := <-huge
		synctest.Wait()
		if len(small) != 0 {
			t.Error("beside one that takes all there is room")
		}
		free()
		(<-small)()
		if all := r.Take(t.Context(), 100); all == nil {
			t.Error("the bytes were not given back")
		}
	})
}

// An account with a long line of large changes has another's wait for one of them, not
// for all, and so does each of several such accounts.
func TestRoomIsSharedByAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := replica.NewRoom(100)
		order := make(chan store.AccountID, 100)
		var all []store.AccountID
		free := r.TakeFor(t.Context(), "acct_a", 100)
		for _, account := range []store.AccountID{"acct_a", "acct_a", "acct_a", "acct_a", "acct_b", "acct_b", "acct_c"} {
			go func() {
				free := r.TakeFor(t.Context(), account, 100)
				order <- account
				time.Sleep(time.Second) // it is being applied
				free()
			}()
			synctest.Wait() // they come one after the other
		}
		free()
		for range 7 {
			all = append(all, <-order)
		}
		if want := []store.AccountID{"acct_b", "acct_c", "acct_a", "acct_b", "acct_a", "acct_a", "acct_a"}; !slices.Equal(all, want) {
			t.Errorf("in the order %v, want %v", all, want)
		}
		// Beside an account that holds a part, one that holds none gets the next.
		time.Sleep(time.Minute)
		first := r.TakeFor(t.Context(), "acct_a", 50)
		second := r.TakeFor(t.Context(), "acct_a", 50)
		for _, account := range []store.AccountID{"acct_a", "acct_a", "acct_d"} {
			go func() {
				defer r.TakeFor(t.Context(), account, 50)()
				order <- account
			}()
			synctest.Wait()
		}
		first()
		if got := <-order; got != "acct_d" {
			t.Errorf("%s overtakes an account that holds nothing", got)
		}
		second()
		synctest.Wait()
		if r.Shares() != 0 {
			t.Errorf("%d shares are left", r.Shares())
		}
	})
}

// Large writes wait for each other and are refused after a while; small ones, grants
// among them, pass by.
func TestLargeWrites(t *testing.T) {
	r := replicatest.New(t)
	free := r.Large().Take(t.Context(), replica.LargeBytes)
	if _, err := r.Propose(t.Context(), replicatest.CreateKey(1)); err != nil {
		t.Errorf("a small write: %v", err)
	}
	large := func(n int) *store.Command {
		c := replicatest.CreateKey(n)
		c.Request.Route = strings.Repeat("x", replica.LargeCommand)
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Propose(ctx, large(2)); !errors.Is(err, replica.ErrBusy) {
		t.Errorf("a large write without room: %v", err)
	}
	if replicatest.Holds(t, r, 2) {
		t.Error("it was made all the same")
	}
	done := make(chan error, 1)
	go func() {
		_, err := r.Propose(t.Context(), large(3))
		done <- err
	}()
	free()
	if err := <-done; err != nil || !replicatest.Holds(t, r, 3) {
		t.Errorf("a large write with room: %v", err)
	}
}

// strained is a coordinator of nodes that are late with their leases until over is set.
type strained struct {
	replica.Coordinator
	over *atomic.Bool
}

func (s strained) Strained() bool { return !s.over.Load() }

// Large writes wait while nodes are late with their leases, and hold their room meanwhile;
// small ones do not wait.
func TestLargeWritesWaitForLeases(t *testing.T) {
	t.Parallel()
	var over atomic.Bool
	c := replicatest.Config(t, vfs.Default, t.TempDir())
	c.Coordinate = func(r *replica.Replica) replica.Coordinator { return strained{replica.Lone(r), &over} }
	r := replicatest.Start(t, c)
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	large := replicatest.CreateKey(1)
	large.Request.Route = strings.Repeat("x", replica.LargeCommand)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Propose(ctx, large); !errors.Is(err, replica.ErrBusy) {
		t.Errorf("a large write: %v", err)
	}
	if replicatest.Holds(t, r, 1) || r.Large().Shares() != 0 {
		t.Errorf("it was made all the same, or %d accounts still hold room", r.Large().Shares())
	}
	replicatest.Must(t, r, replicatest.CreateKey(2))
	revoked := &store.KeyRevokeBulk{IDs: []store.KeyID{replicatest.KeyID(2)}}
	for len(revoked.IDs) < 500 {
		revoked.IDs = append(revoked.IDs, store.KeyID(fmt.Sprintf("key_%020d", len(revoked.IDs))))
	}
	bulk := replicatest.CreateKey(0)
	bulk.Change = revoked
	if n := len(bulk.Encode()); n < replica.LargeCommand {
		t.Fatalf("500 keys are %d bytes only", n)
	}
	replicatest.Must(t, r, bulk) // waits for no lease
	done := make(chan error, 1)
	go func() {
		_, err := r.Propose(t.Context(), large)
		done <- err
	}()
	over.Store(true)
	if n := r.Large().Total(); n >= replica.LargeCommand*10 {
		t.Errorf("%d bytes may be under way after a lease was late", n)
	}
	if err := <-done; err != nil || !replicatest.Holds(t, r, 1) {
		t.Errorf("a large write after the leases were renewed: %v", err)
	}
	for n := 3; r.Large().Total() < replica.LargeBytes; n++ {
		large := replicatest.CreateKey(n)
		large.Request.Route = strings.Repeat("x", replica.LargeCommand)
		before := r.Large().Total()
		if replicatest.Must(t, r, large); r.Large().Total() <= before {
			t.Fatalf("%d bytes may be under way, after %d", r.Large().Total(), before)
		}
	}
}

// A term is confirmed by the commit alone, while the state machine is busy; another
// term never is.
func TestConfirmTermWhileApplyIsBusy(t *testing.T) {
	r := replicatest.New(t)
	term, err := r.Confirm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release := r.HoldApply()
	written := make(chan error, 1)
	go func() {
		_, err := r.Propose(t.Context(), replicatest.CreateKey(1))
		written <- err
	}()
	for range 5 {
		before := r.LastIndex()
		if err := r.ConfirmTerm(t.Context(), term); err != nil {
			t.Fatal(err)
		}
		if r.LastIndex() <= before && r.Raft().CommitIndex() <= before {
			t.Error("confirmed by an entry from before the call")
		}
	}
	if err := r.ConfirmTerm(t.Context(), term+1); err == nil {
		t.Error("a term that this node does not lead in is confirmed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Confirm(ctx); err == nil {
		t.Error("the state machine is not busy: this test tests nothing")
	}
	release()
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// An index is reported before the rest of a large batch is applied.
func TestBatchesAreReportedInParts(t *testing.T) {
	r := replicatest.New(t)
	var logs []*raft.Log
	for i := range 4 {
		c := replicatest.CreateKey(i)
		c.Request.Route = strings.Repeat("x", replica.ApplyBytes*2/3)
		logs = append(logs, &raft.Log{Index: r.LastIndex() + uint64(i) + 1, Type: raft.LogCommand, Data: c.Encode()})
	}
	release := r.HoldApply() // where it reports the first part
	done := make(chan []any, 1)
	go func() { done <- r.ApplyBatch(logs) }()
	replicatest.Eventually(t, "the first part", func() bool { return r.Store().Applied() >= logs[0].Index })
	if now := r.Store().Applied(); now != logs[1].Index {
		t.Errorf("the first part ends at %d, must at %d", now, logs[1].Index)
	}
	release()
	if out := <-done; len(out) != len(logs) || r.Store().Applied() != logs[3].Index {
		t.Errorf("%d answers; applied up to %d of %d", len(out), r.Store().Applied(), logs[3].Index)
	}
}
