package cluster

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// A bucket that is asked for twice is in a waiting round once; rounds have a bound, and
// so has their number.
func TestRoundsOfRecalls(t *testing.T) {
	rc := &recalls{}
	ask := func(month int) store.GrantAsk {
		return store.GrantAsk{Account: store.DefaultAccount, Type: store.Live, Month: month}
	}
	first := rc.nextLocked(ask(0))
	if rc.nextLocked(ask(0)) != first || len(first.asks) != 1 {
		t.Errorf("asked twice: %d buckets", len(first.asks))
	}
	for i := range maxRoundAsks * maxRecallQueue {
		r := rc.nextLocked(ask(i))
		if r == nil || r != rc.queue[i/maxRoundAsks] {
			t.Fatalf("bucket %d is not in round %d", i, i/maxRoundAsks)
		}
	}
	if len(rc.queue) != maxRecallQueue || rc.nextLocked(ask(-1)) != nil {
		t.Errorf("%d rounds wait, and one more bucket finds room", len(rc.queue))
	}
	if r := rc.nextLocked(ask(5)); r != first {
		t.Error("a bucket that waits already has no place in a full queue")
	}
}

// Buckets survive the way between nodes.
func TestBucketsOnTheWire(t *testing.T) {
	ask := recalled
	ask.Want, ask.Type = 5, store.Test // the missing units are not asked of others
	want := ask
	want.Want = 0
	rule := store.GrantAsk{Account: "acct_a", Type: store.Live, Key: "key_a", Rule: "chat", Day: 20513}
	if got := recallingOf([]store.GrantAsk{ask, {}, rule}).asks(); !reflect.DeepEqual(got, []store.GrantAsk{want, {}, rule}) {
		t.Errorf("%+v", got)
	}
}

// A recall asks every node for the buckets, this one too, and one that cannot be reached
// does not hold it up.
func TestRecallAsksEveryNode(t *testing.T) {
	t.Parallel()
	var own atomic.Pointer[[]store.GrantAsk]
	s := opened(t, func(c *Config) {
		c.Yield = func(_ context.Context, asks []store.GrantAsk) error {
			own.Store(&asks)
			return errors.New("nothing is held")
		}
	})
	p, down := s.joined("n2"), s.joined("n3")
	down.mesh.Close()
	p.answers(callYield, func([]byte) any { return struct{}{} })
	s.begin(s.recalls.run)
	if err := s.Recall(t.Context(), []store.GrantAsk{recalled}); err != nil {
		t.Fatal(err)
	}
	if got := own.Load(); got == nil || !slices.Equal(*got, []store.GrantAsk{recalled}) {
		t.Errorf("this node was asked for %v", got)
	}
	if want := ` {"buckets":[{"account":"default","type":"live","key":"key_000000000001","budget":true,"month":24000}]}`; p.count(callYield) != 1 || p.lastOf(callYield) != want {
		t.Errorf("n2 was asked %d times, for %s", p.count(callYield), p.lastOf(callYield))
	}
	if s.log.Count(`msg="a node gave nothing back" node=n3`) != 1 || s.log.Count("this node gave nothing back") != 1 {
		t.Error(s.log.String())
	}
	// Another node's call does the same.
	if index, err := posts[uint64](p, callRecall, recallingOf([]store.GrantAsk{recalled})); err != nil || index != s.r.Store().Applied() || p.count(callYield) != 2 {
		t.Errorf("index %d, %v, asked %d times", index, err, p.count(callYield))
	}
}

// A caller waits for a round that begins after its call: buckets of later calls gather
// in the next one.
func TestRecallsGather(t *testing.T) {
	t.Parallel()
	rounds := make(chan []store.GrantAsk)
	proceed := make(chan struct{})
	s := newStage(t, func(c *Config) {
		c.Yield = func(ctx context.Context, asks []store.GrantAsk) error {
			rounds <- asks
			<-proceed
			return nil
		}
	})
	ask := func(month int) []store.GrantAsk {
		return []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: month}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 10)
	recall := func(month int) {
		go func() {
			if _, err := s.recalls.join(t.Context(), ask(month)); err != nil {
				t.Error(err)
			}
			done <- month
		}()
	}
	go s.recalls.run(ctx)
	recall(1)
	if got := <-rounds; !slices.Equal(got, ask(1)) {
		t.Errorf("the first round: %v", got)
	}
	recall(1) // the round that is under way may have asked already
	s.until("the second caller to wait", func() bool { return s.waitingAsks() == 1 })
	recall(2)
	s.until("the third caller to wait", func() bool { return s.waitingAsks() == 2 })
	if len(done) != 0 {
		t.Error("a caller was answered before its round ended")
	}
	proceed <- struct{}{}
	if got := <-done; got != 1 {
		t.Errorf("caller %d was answered first", got)
	}
	if got := <-rounds; !slices.Equal(got, append(ask(1), ask(2)...)) {
		t.Errorf("the second round: %v", got)
	}
	if len(done) != 0 {
		t.Error("a caller was answered by the round before")
	}
	proceed <- struct{}{}
	if sum := <-done + <-done; sum != 3 {
		t.Errorf("answered were %d", sum)
	}
}

// waitingAsks is how many buckets wait for a round.
func (s *stage) waitingAsks() (n int) {
	s.recalls.mu.Lock()
	defer s.recalls.mu.Unlock()
	for _, r := range s.recalls.queue {
		n += len(r.asks)
	}
	return n
}

// A recall that finds no room or no time is refused.
func TestRecallsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	for i := range maxRecallQueue { // nobody makes the rounds
		s.recalls.queue = append(s.recalls.queue, &round{asks: make([]store.GrantAsk, maxRoundAsks), done: make(chan struct{})})
		if i == 0 {
			s.recalls.queue[0].asks[0] = recalled
		}
	}
	err := s.Recall(t.Context(), []store.GrantAsk{{Account: "acct_1", Type: store.Live, Month: 1}})
	if !errors.Is(err, replica.ErrBusy) {
		t.Errorf("without room: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Recall(ctx, []store.GrantAsk{recalled}); !errors.Is(err, replica.ErrUnavailable) {
		t.Errorf("without time: %v", err)
	}
}

// A node gives back the buckets of the call, and answers with its error if it cannot.
func TestYield(t *testing.T) {
	t.Parallel()
	var got []store.GrantAsk
	s := opened(t, func(c *Config) {
		c.Yield = func(ctx context.Context, asks []store.GrantAsk) error {
			if _, limited := ctx.Deadline(); !limited {
				return errors.New("it could last for ever")
			}
			if got = asks; asks[0].Month == 0 {
				return replica.Refuse(replica.ErrBusy, nil)
			}
			return nil
		}
	})
	p := s.joined("n2")
	if _, err := posts[struct{}](p, callYield, recallingOf([]store.GrantAsk{recalled})); err != nil || !slices.Equal(got, []store.GrantAsk{recalled}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := posts[struct{}](p, callYield, recallingOf(make([]store.GrantAsk, 1))); !errors.Is(err, replica.ErrBusy) {
		t.Errorf("an error of the node: %v", err)
	}
}
