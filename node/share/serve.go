package share

import (
	"errors"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
)

// errEarlier says that a batch is from or for a process that has ended.
var errEarlier = errors.New("the message is of an earlier start of a node")

// errLeaseless says that this node may not lend now.
var errLeaseless = errors.New("this node holds no serving lease")

// Serve answers the batch of another node.
func (s *Sharing) Serve(node string, body []byte) ([]byte, error) {
	in, err := decode(body)
	if err != nil {
		return nil, err
	}
	from, ok := s.meet(node, in.from)
	if !ok {
		return nil, errEarlier
	}
	out := batch{from: s.conf.Boot}
	if in.to != s.conf.Boot || len(in.items) == 0 {
		return out.encode(), nil // it learns which process this is
	}
	if !s.conf.Leased() {
		return nil, errLeaseless
	}
	for i := range in.items {
		if m, ok := s.answer(from, &in.items[i]); ok {
			out.items = append(out.items, m)
		}
	}
	return out.encode(), nil
}

// answer answers one message. A node says nothing about what it has not applied: its next
// process takes what is newer than the log for untouched.
func (s *Sharing) answer(from share.Peer, m *item) (out item, ok bool) {
	if m.terms.Created > s.conf.Applied() {
		return item{}, false
	}
	shard := s.conf.Pool.Shard(m.name)
	shard.Lock()
	now := s.conf.Now()
	b := shard.Find(m.name, now)
	if b != nil || m.kind == isFetch || m.kind == isHint && shard.Roomy(m.terms) {
		b = shard.Open(b, m.name, m.terms, now)
	}
	if b == nil { // a part of one that is not here any more was lost with it
		shard.Unlock()
		return item{}, false
	}
	out.name = m.name
	var sent []share.Sent
	switch m.kind {
	case isFetch:
		out.kind = isReply
		out.reply, ok = b.OnFetch(from, &m.fetch, now)
		if m.fetch.Charge && b.Low(now) {
			sent = b.AskAhead(b.Peers(), s.next, now)
		}
	case isRenew:
		out.kind = isRenewed
		out.renewed, ok = b.OnRenew(from, &m.renew, now)
	case isHint:
		b.Hint(from, m.hint, now)
	case isReturn:
		b.OnReturn(from, &m.back, now)
		b.Notify()
	}
	items := fetches(b, sent)
	share.Rest(&b.Bucket, now)
	shard.Unlock()
	s.postAll(sent, items)
	return out, ok
}

// take takes the answers to the items that were sent to a process.
func (s *Sharing) take(from share.Peer, sent, answers []item) {
	for i := range answers {
		m := &answers[i]
		asked := find(sent, m)
		if asked == nil {
			continue
		}
		shard := s.conf.Pool.Shard(m.name)
		shard.Lock()
		now := s.conf.Now()
		if b := shard.Find(m.name, now); b != nil {
			b = shard.Open(b, m.name, asked.terms, now)
			if m.kind == isReply {
				b.OnReply(from, &m.reply, now)
			} else {
				b.OnRenewed(from, &m.renewed, now)
			}
			share.Rest(&b.Bucket, now)
			b.Notify()
		}
		shard.Unlock()
	}
}

// find is the item that m answers; nil: none.
func find(sent []item, m *item) *item {
	for i := range sent {
		q := &sent[i]
		if m.kind == isReply && q.kind == isFetch && q.fetch.ID == m.reply.ID && q.name == m.name ||
			m.kind == isRenewed && q.kind == isRenew && q.renew.ID == m.renewed.ID && q.name == m.name {
			return q
		}
	}
	return nil
}

// eachFetch calls do with the bucket of each question, and wakes the requests that wait
// for it.
func (s *Sharing) eachFetch(items []item, do func(b *pool.Bucket, id uint64)) {
	for i := range items {
		m := &items[i]
		if m.kind != isFetch {
			continue
		}
		shard := s.conf.Pool.Shard(m.name)
		shard.Lock()
		if b := shard.Find(m.name, s.conf.Now()); b != nil {
			do(b, m.fetch.ID)
			b.Notify()
		}
		shard.Unlock()
	}
}

// giveUp tells the buckets that no answer came in time, or that none will come at all.
// For an item that was answered it does nothing.
func (s *Sharing) giveUp(to share.Peer, items []item, forever bool) {
	for i := range items {
		m := &items[i]
		if m.kind == isReturn || m.kind == isHint || m.kind == isRenew && !forever {
			continue
		}
		shard := s.conf.Pool.Shard(m.name)
		shard.Lock()
		now := s.conf.Now()
		if b := shard.Find(m.name, now); b != nil {
			switch {
			case m.kind == isRenew:
				b.RenewLost(m.renew.ID, to)
			case forever:
				b.Lost(m.fetch.ID, to, now)
			default:
				b.Late(m.fetch.ID, to, now)
			}
			share.Rest(&b.Bucket, now)
			b.Notify()
		}
		shard.Unlock()
	}
}
