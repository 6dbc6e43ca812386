package share

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
)

// peer is another node, and its process as far as it is known. Sharing.mu guards it but
// for queue.
type peer struct {
	id    string
	boot  uint64     // 0: not known
	num   share.Peer // of that process
	queue chan item  // to be sent; what does not fit is lost

	tried bool  // it has answered, or could not be reached, once
	heard int64 // when it answered last
	down  bool  // the last call failed, or takes too long; greetings find out when it is back
	greet bool  // a greeting is under way
	told  bool  // hints are under way
}

// maxQueue bounds the messages to a node that wait: some 200 bytes each.
const maxQueue = 2048

// callsMax bounds the calls to one node that are under way.
const callsMax = 4

// The times of exchanges.
const (
	slowAfter   = 12 * time.Millisecond  // of a call: requests ask other nodes too
	waitMost    = 250 * time.Millisecond // of a call, and of a request in all: the node is taken for unreachable
	refillMost  = 2 * time.Millisecond   // of it for this node's own refill
	callTimeout = 2 * time.Second        // what an answer brings counts from the sending, however late it is
	tickEvery   = 100 * time.Millisecond // of a fifth of the buckets
	greetEvery  = 250 * time.Millisecond // nodes that are not known, or down
)

// turns is the number of ticks in which every bucket has its turn once.
const turns = 5

// maxHints bounds the hints of a tick: some 60 bytes each. Others have to wait for their
// next turn.
const maxHints = 8192

// tell sends hints to every node that can be reached. A node that has not taken the last
// ones yet misses these: they are for showing only, and more will come.
func (s *Sharing) tell(hints []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	for _, p := range s.peers {
		if p.boot == 0 || p.down || p.told {
			continue
		}
		p.told = true
		s.senders.Go(func() {
			for part := range slices.Chunk(hints, maxItems) {
				s.call(s.ctx, p, part)
			}
			s.mu.Lock()
			p.told = false
			s.mu.Unlock()
		})
	}
}

// peerOf is the peer of a node, made if need be.
func (s *Sharing) peerOf(id string) *peer {
	p := s.peers[id]
	if p == nil {
		p = &peer{id: id, num: -1, queue: make(chan item, maxQueue)}
		s.peers[id] = p
		s.senders.Go(func() { s.send(p) })
	}
	return p
}

// meet notes the boot of a node, and returns the number of that process; false: it is an
// earlier one, which has ended.
func (s *Sharing) meet(id string, boot uint64) (share.Peer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || boot == 0 {
		return 0, false
	}
	p := s.peerOf(id)
	switch {
	case boot < p.boot:
		return 0, false
	case boot > p.boot:
		s.numbers++
		p.boot, p.num = boot, s.numbers
		s.nodes[p.num] = p
		s.reachLocked()
	}
	return p.num, true
}

// others are the other nodes of the rosters that count now.
func (s *Sharing) others() (ids []string) {
	for _, r := range s.conf.Pool.Line().Rosters() {
		for _, id := range r.Nodes {
			if id != s.conf.Self && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// see makes the peers of the nodes that share limits, and greets those that are new.
func (s *Sharing) see() {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return
	}
	strange := false
	for _, id := range s.others() {
		p := s.peerOf(id)
		strange = strange || !p.tried && !p.greet
	}
	s.mu.Unlock()
	if strange {
		s.greet(s.ctx)
	}
}

// acquaint returns nil if every node of a roster was tried, and else a channel that is
// closed when one more is.
func (s *Sharing) acquaint() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.others() {
		if p := s.peers[id]; p == nil || !p.tried {
			return s.news
		}
	}
	if s.conf.Pool.On() {
		s.met.Store(true)
	}
	return nil
}

// reachLocked takes over which processes can be asked.
func (s *Sharing) reachLocked() {
	r := &pool.Reach{}
	for id, p := range s.peers {
		if p.boot != 0 && !p.down {
			r.Nodes, r.Peers = append(r.Nodes, id), append(r.Peers, p.num)
		}
	}
	s.conf.Pool.SetReach(r)
}

// found notes whether a node can be reached.
func (s *Sharing) found(p *peer, reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reached {
		p.heard = s.conf.Now()
	}
	if p.down == reached {
		p.down = !reached
		s.reachLocked()
	}
	if !p.tried {
		p.tried = true
		close(s.news)
		s.news = make(chan struct{})
	}
}

// post hands a message to the sender of a process; false: it cannot be sent.
func (s *Sharing) post(to share.Peer, m item) bool {
	s.mu.Lock()
	p := s.nodes[to]
	if p == nil || p.num != to {
		s.mu.Unlock()
		return false
	}
	s.mu.Unlock()
	m.to = to
	select {
	case p.queue <- m:
		return true
	default:
		return false
	}
}

// greet calls the nodes whose process is not known, that have not been called yet, or that
// are down, by empty batches. A node that has called first is known, and is called all the
// same: requests wait for its first answer.
func (s *Sharing) greet(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	for _, id := range s.others() {
		p := s.peerOf(id)
		if (p.boot == 0 || p.down || !p.tried) && !p.greet {
			p.greet = true
			s.senders.Go(func() {
				s.call(ctx, p, nil)
				s.mu.Lock()
				p.greet = false
				s.mu.Unlock()
			})
		}
	}
}

// send sends what is queued for a node, until Sharing ends.
func (s *Sharing) send(p *peer) {
	places := make(chan struct{}, callsMax)
	for {
		var items []item
		select {
		case <-s.ctx.Done():
			return
		case m := <-p.queue:
			items = append(items, m)
		}
		select {
		case <-s.ctx.Done():
			return
		case places <- struct{}{}:
		}
	more:
		for len(items) < maxItems {
			select {
			case m := <-p.queue:
				items = append(items, m)
			default:
				break more
			}
		}
		s.senders.Go(func() {
			defer func() { <-places }()
			s.call(s.ctx, p, items)
		})
	}
}

// call sends a batch to a node's process and takes the answers.
func (s *Sharing) call(ctx context.Context, p *peer, items []item) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s.mu.Lock()
	num, boot := p.num, p.boot
	s.mu.Unlock()
	// What was for a process that has ended meanwhile has no answer any more.
	items = slices.DeleteFunc(slices.Clone(items), func(m item) bool {
		stale := m.to != 0 && m.to != num
		if stale {
			s.giveUp(m.to, []item{m}, true)
		}
		return stale
	})
	// A timer that was stopped stays with the runtime until its time: without the messages.
	var open atomic.Pointer[[]item]
	open.Store(&items)
	defer open.Store(new([]item))
	slow := time.AfterFunc(slowAfter, func() { s.eachFetch(*open.Load(), func(b *pool.Bucket, id uint64) { b.Slow(id, num) }) })
	defer slow.Stop()
	late := time.AfterFunc(waitMost, func() {
		s.found(p, false)
		s.giveUp(num, *open.Load(), false)
	})
	defer late.Stop()
	out := batch{owners: s.conf.Owners != nil && s.conf.Owners(), from: s.conf.Boot, to: boot, items: items}
	raw, err := s.conf.Exchange(ctx, p.id, out.encode())
	var in batch
	if err == nil {
		in, err = decode(raw)
	}
	if err != nil {
		s.conf.Logger.Debug("limits not exchanged", "node", p.id, "error", err)
	} else if now, ok := s.meet(p.id, in.from); ok && now == num {
		s.take(num, items, in.items)
	}
	s.metrics.sent(items, err)
	s.found(p, err == nil)
	s.giveUp(num, items, true)
}
