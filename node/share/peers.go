package share

import (
	"context"
	"slices"
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
}

// maxQueue bounds the messages to a node that wait: some 200 bytes each.
const maxQueue = 2048

// callsMax bounds the calls to one node that are under way.
const callsMax = 4

// The times of exchanges.
const (
	waitMost    = 12 * time.Millisecond // of a request, in all
	refillMost  = 2 * time.Millisecond  // of it for this node's own refill
	callTimeout = 2 * time.Second       // what an answer brings counts from the sending, however late it is
	tickEvery   = 100 * time.Millisecond
	greetEvery  = 500 * time.Millisecond
)

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

// see replaces the nodes that are taken for alive.
func (s *Sharing) see(alive []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(alive, s.alive) || s.ctx.Err() != nil {
		return
	}
	s.alive = alive
	for _, id := range alive {
		s.peerOf(id)
	}
	s.reachLocked()
}

func (s *Sharing) reachLocked() {
	r := &pool.Reach{}
	for _, id := range s.alive {
		if p := s.peers[id]; p.boot != 0 {
			r.Nodes, r.Peers = append(r.Nodes, id), append(r.Peers, p.num)
		}
	}
	s.conf.Pool.SetReach(r)
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
	select {
	case p.queue <- m:
		return true
	default:
		return false
	}
}

// greet asks the nodes whose process is not known for their boots, by empty batches.
func (s *Sharing) greet(ctx context.Context) {
	s.mu.Lock()
	var unknown []*peer
	for _, id := range s.alive {
		if p := s.peers[id]; p.boot == 0 {
			unknown = append(unknown, p)
		}
	}
	s.mu.Unlock()
	for _, p := range unknown {
		s.senders.Go(func() { s.call(ctx, p, nil) })
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
	late := time.AfterFunc(waitMost, func() { s.giveUp(num, items, false) })
	defer late.Stop()
	out := batch{from: s.conf.Boot, to: boot, items: items}
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
	s.giveUp(num, items, true)
}
