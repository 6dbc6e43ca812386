package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// Bounds of recalls.
const (
	yieldTimeout   = time.Second // of one node's part; one that cannot be reached keeps its units
	maxRoundAsks   = 256         // buckets of one round: 54 KB at most, within maxCallBody
	maxRecallQueue = 8           // rounds that wait
)

// recalls bring back, on the leader, the units of months and budgets that nodes hold and
// do not need, before a node refuses a request for want of them.
//
// A round asks every node, the one that began it too, to give back the units that it
// holds of the round's buckets. A node takes the units out of its own count first and
// then writes them to the log, so that no unit is in two places. One round is under way
// at a time; buckets that are asked for meanwhile gather in the next, and a caller waits
// for a round that began after its call. The number of messages depends on how long
// rounds take, never on how many requests wait.
type recalls struct {
	*node
	peers   *peers
	metrics *metrics
	kick    chan struct{} // holds a token when queue has changed

	mu    sync.Mutex
	queue []*round // not begun; guarded by mu
}

// round is one recall. asks is guarded by recalls.mu until the round begins; index is
// set before done is closed.
type round struct {
	asks  []store.GrantAsk
	index uint64 // of the state that includes the units given back
	done  chan struct{}
}

// recalling is the body of the calls of a recall.
type recalling struct {
	Buckets []wireBucket `json:"buckets"`
}

// wireBucket names one bucket; see [store.GrantAsk].
type wireBucket struct {
	Account store.AccountID `json:"account"`
	Type    store.KeyType   `json:"type"`
	Key     store.KeyID     `json:"key,omitzero"`
	Budget  bool            `json:"budget,omitzero"`
	Rule    string          `json:"rule,omitzero"`
	Month   int             `json:"month"`
	Day     int             `json:"day,omitzero"`
}

func recallingOf(asks []store.GrantAsk) *recalling {
	r := &recalling{Buckets: make([]wireBucket, len(asks))}
	for i, a := range asks {
		r.Buckets[i] = wireBucket{Account: a.Account, Type: a.Type, Key: a.Key, Budget: a.Budget, Rule: a.Rule, Month: a.Month, Day: a.Day}
	}
	return r
}

func (r *recalling) asks() []store.GrantAsk {
	asks := make([]store.GrantAsk, len(r.Buckets))
	for i, b := range r.Buckets {
		asks[i] = store.GrantAsk{Account: b.Account, Type: b.Type, Key: b.Key, Budget: b.Budget, Rule: b.Rule, Month: b.Month, Day: b.Day}
	}
	return asks
}

// Recall implements [replica.Writer].
func (c *Cluster) Recall(ctx context.Context, asks []store.GrantAsk) error {
	began := time.Now()
	err := c.recall(ctx, asks)
	c.metrics.recalls.WithLabelValues(result(err)).Observe(time.Since(began).Seconds())
	return err
}

func (c *Cluster) recall(ctx context.Context, asks []store.GrantAsk) error {
	var index uint64
	err := c.r.WithLeader(ctx, func() (err error) {
		if c.r.Leads() {
			index, err = c.recalls.join(ctx, asks)
			return err
		}
		id, addr, ok := c.peers.leader()
		if !ok || string(id) == c.self.ID {
			return replica.ErrNotTaken
		}
		index, err = call[uint64](ctx, c.mesh, addr, string(id), callRecall, encode(recallingOf(asks)))
		return err
	})
	if err != nil {
		return err
	}
	return c.r.WaitApplied(ctx, index)
}

// join adds asks to a round that has not begun, and waits for its end.
func (rc *recalls) join(ctx context.Context, asks []store.GrantAsk) (index uint64, err error) {
	var rounds []*round
	rc.mu.Lock()
	for _, a := range asks {
		r := rc.nextLocked(a)
		if r == nil {
			rc.mu.Unlock()
			return 0, replica.Refuse(replica.ErrBusy, nil)
		}
		if !slices.Contains(rounds, r) {
			rounds = append(rounds, r)
		}
	}
	rc.mu.Unlock()
	select {
	case rc.kick <- struct{}{}:
	default:
	}
	for _, r := range rounds {
		select {
		case <-r.done:
			index = max(index, r.index)
		case <-ctx.Done():
			return 0, replica.Refuse(replica.ErrUnavailable, ctx.Err())
		case <-rc.r.Stopped():
			return 0, replica.ErrNotTaken
		}
	}
	return index, nil
}

// nextLocked is the waiting round that a is in; nil if there is no room.
func (rc *recalls) nextLocked(a store.GrantAsk) *round {
	for _, r := range rc.queue {
		if slices.Contains(r.asks, a) {
			return r
		}
	}
	if n := len(rc.queue); n > 0 && len(rc.queue[n-1].asks) < maxRoundAsks {
		rc.queue[n-1].asks = append(rc.queue[n-1].asks, a)
		return rc.queue[n-1]
	}
	if len(rc.queue) == maxRecallQueue {
		return nil
	}
	r := &round{asks: []store.GrantAsk{a}, done: make(chan struct{})}
	rc.queue = append(rc.queue, r)
	return r
}

// run makes the rounds, one after the other, until ctx ends.
func (rc *recalls) run(ctx context.Context) {
	for {
		rc.mu.Lock()
		var r *round
		if len(rc.queue) > 0 {
			r = rc.queue[0]
			rc.queue = slices.Delete(rc.queue, 0, 1)
		}
		rc.mu.Unlock()
		if r != nil {
			rc.gather(ctx, r)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-rc.kick:
		}
	}
}

// gather makes one round. A node that cannot be reached, or is of a version that does not
// know the call, keeps its units.
func (rc *recalls) gather(ctx context.Context, r *round) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, yieldTimeout)
	defer cancel()
	body := encode(recallingOf(r.asks))
	var nodes sync.WaitGroup
	for _, s := range rc.otherServers() {
		nodes.Go(func() {
			id := string(s.ID)
			_, err := call[struct{}](ctx, rc.mesh, rc.peers.addressOf(id, string(s.Address)), id, callYield, body)
			rc.metrics.yields.WithLabelValues(result(err)).Inc()
			if err != nil {
				rc.log.Debug("a node gave nothing back", "node", rc.nameOf(id), "error", err)
			}
		})
	}
	if err := rc.Yield(ctx, r.asks); err != nil {
		rc.log.Debug("this node gave nothing back", "error", err)
	}
	nodes.Wait()
	r.index = rc.r.Store().Applied()
}
