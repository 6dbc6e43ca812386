package replica_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// During a hold nothing is written or confirmed, callers wait for its end, and the
// log can be flushed.
func TestHold(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	replicatest.Must(t, r, replicatest.CreateKey(1))
	release, ok := r.Hold()
	if !ok {
		t.Fatal("no hold")
	}
	if _, ok := r.Hold(); ok {
		t.Error("two holds at a time")
	}
	last, err := r.Flush(t.Context())
	if err != nil || last != r.LastIndex() {
		t.Errorf("flushed to %d, the log ends at %d: %v", last, r.LastIndex(), err)
	}
	if _, err := r.CommitForwarded(t.Context(), replicatest.CreateKey(2).Encode()); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("a write: %v", err)
	}
	if _, err := r.Confirm(t.Context()); err == nil {
		t.Error("the leadership was confirmed")
	}
	if r.LastIndex() != last {
		t.Errorf("the log went on to %d", r.LastIndex())
	}
	written := make(chan error, 1)
	go func() {
		_, err := r.Write(t.Context(), replicatest.CreateKey(3))
		written <- err
	}()
	release()
	if err := <-written; err != nil {
		t.Errorf("a write that waited: %v", err)
	}
	again, ok := r.Hold()
	if !ok {
		t.Fatal("no hold after the first was released")
	}
	release() // twice, of an older hold
	if _, err := r.CommitForwarded(t.Context(), replicatest.CreateKey(4).Encode()); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("an older hold's release ended this one: %v", err)
	}
	again()
}

// A hold that does not end is no longer waited for than any other absence of a leader.
func TestHoldIsWaitedForShortly(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	release, _ := r.Hold()
	defer release()
	began := time.Now()
	_, err := r.Write(t.Context(), replicatest.CreateKey(1))
	if !errors.Is(err, replica.ErrNoLeader) || time.Since(began) < replica.LeaderWait {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a flush that is not waited for: %v", err)
	}
}
