package share

import (
	"fmt"
	"math/bits"
	"slices"
)

// world is a cluster in virtual time that shares one bucket: nodes with clocks of their
// own, and a network that delays, loses, repeats and reorders. A reference bucket is fed
// with what the nodes really admit.
type world struct {
	draw func(n int) int // 0 … n-1
	mut  mutation

	now   int64 // true time
	pace  Pace
	tiny  bool
	nodes []*node
	mail  []*letter
	cut   [][]bool
	ids   uint64
	peers []int // node of each Peer

	log      []int // rosters: sets of nodes, as bits; the last settled is at first
	first    int
	settling int64 // when the last roster may settle at the earliest; 0: it is settled

	level    int64 // of the reference
	at       int64
	admitted int
	refused  int
	sent     int
	calm     bool // renewals have answers
}

// node is a process, and the machine under it.
type node struct {
	b        *Bucket
	peer     Peer // of this process
	drift    int64
	off      int64
	from, to int   // the rosters of the log that it has applied and that are not settled for it
	quiet    int64 // since when it holds no lease
	up       bool
	open     map[uint64]sentAt
}

type sentAt struct {
	to Peer
	at int64
}

// letter is a message on its way.
type letter struct {
	from, to Peer
	body     any
}

// mutation is a mistake that the checks must find.
type mutation int

const (
	sound mutation = iota
	longerLease
	noDeduction
	duplicateGrant
	tokensKept
	noQuarantine
	noHold
	lateHold
	growAtOnce
	settleAtOnce
	renewBeyondBase
	mutations
)

func (m mutation) String() string {
	return [...]string{"sound", "longer lease", "lent part not deducted", "duplicate grant accepted", "tokens not deducted",
		"no quarantine", "no hold", "tokens kept beyond their hold", "base grows at once", "roster settles at once", "loans beyond the base renewed"}[m]
}

func newWorld(n int, p Pace, draw func(int) int, mut mutation) *world {
	w := &world{draw: draw, mut: mut, now: 1e12, at: 1e12, pace: p, tiny: p.Burst < int64(4*n), level: p.full()}
	w.log = []int{1<<n - 1}
	for i := range n {
		base := w.baseIn(w.log[0], i)
		nd := &node{to: 1, drift: int64(draw(9)-4) * 100, off: int64(draw(1000)) * 1e9, up: true, open: map[uint64]sentAt{}}
		nd.peer = w.name(i)
		w.nodes = append(w.nodes, nd)
		w.cut = append(w.cut, make([]bool, n))
		nd.b = New(p, base, w.clock(i))
	}
	return w
}

func (w *world) name(i int) Peer {
	w.peers = append(w.peers, i)
	return Peer(len(w.peers) - 1)
}

// clock is a node's: it runs faster or slower by up to 0.04 %.
func (w *world) clock(i int) int64 {
	n := w.nodes[i]
	return n.off + w.now + w.now*n.drift/1_000_000
}

func (w *world) next() uint64 { w.ids++; return w.ids }

// view is the peers of node i.
func (w *world) view(i int) *Peers {
	ps := &Peers{Base: One / Part(len(w.nodes)), Tiny: w.tiny, Home: nobody}
	for j, n := range w.nodes {
		if j != i && n.up {
			ps.Up = append(ps.Up, n.peer)
		}
		if w.tiny && w.home(i) == j {
			ps.Here, ps.Home = j == i, n.peer
			w.nodes[i].b.SetHome(ps.Here)
		}
	}
	return ps
}

// home is the home of a tiny bucket, as node i sees it.
func (w *world) home(i int) int { return bits.TrailingZeros(uint(w.log[w.nodes[i].from])) }

func (w *world) send(i int, to Peer, body any) {
	w.sent++
	j := w.peers[to]
	if w.cut[i][j] || len(w.mail) > 200 {
		return
	}
	w.mail = append(w.mail, &letter{w.nodes[i].peer, to, body})
}

// request makes a request of units at node i, and whatever it leads to.
func (w *world) request(i int, units int64) bool {
	n := w.nodes[i]
	if !n.up {
		return false
	}
	now := w.clock(i)
	n.b.Advance(now)
	n.b.Count(units, now)
	if n.b.Has(units) {
		n.b.Spend(units)
		w.admit(units)
		if n.b.Low(now) {
			w.ask(i, n.b.AskAhead(w.view(i), w.next, now))
		}
		return true
	}
	w.refused++
	w.ask(i, n.b.Ask(units, w.view(i), w.next, uint64(w.draw(64)), now))
	return false
}

func (w *world) ask(i int, out []Sent) {
	for _, s := range out {
		w.nodes[i].open[s.Fetch.ID] = sentAt{s.To, w.now}
		w.send(i, s.To, s.Fetch)
	}
}

func (w *world) admit(units int64) {
	w.refill()
	w.level -= units * w.pace.Weight
	w.admitted += int(units)
}

func (w *world) refill() {
	w.level = min(w.pace.full(), w.level+(w.now-w.at)/w.pace.Tick*w.pace.Rate)
	w.at = w.now
}

// deliver hands letter k over; it may be a copy.
func (w *world) deliver(k int, copied bool) {
	l := w.mail[k]
	if !copied {
		w.mail = slices.Delete(w.mail, k, k+1)
	}
	i := w.peers[l.to]
	n := w.nodes[i]
	if !n.up || n.peer != l.to {
		return // to a process that has ended
	}
	now := w.clock(i)
	switch m := l.body.(type) {
	case Fetch:
		w.fetched(i, l.from, m, now)
	case Reply:
		w.replied(i, l.from, m, now)
	case Renew:
		base := n.b.base.wide()
		if w.mut == renewBeyondBase {
			n.b.base = narrow(One)
		}
		r, ok := n.b.OnRenew(l.from, &m, now)
		if n.b.base = narrow(base); ok {
			w.send(i, l.from, r)
		}
	case Renewed:
		n.b.OnRenewed(l.from, &m, now)
	case Return:
		n.b.OnReturn(l.from, &m, now)
	}
}

func (w *world) fetched(i int, from Peer, f Fetch, now int64) {
	b := w.nodes[i].b
	lent, holds := 0, 0
	if wake(b) != nil {
		lent, holds = len(b.more.lent), len(b.more.holds)
	}
	was := b.tok
	r, ok := b.OnFetch(from, &f, now)
	switch m := b.more; w.mut {
	case noDeduction:
		m.lent = m.lent[:min(lent, len(m.lent))]
		b.rights(b.at)
	case tokensKept:
		b.tok = max(b.tok, min(was, b.cap))
	case noHold:
		m.holds = m.holds[:min(holds, len(m.holds))]
		b.rights(b.at)
	}
	if ok {
		w.send(i, from, r)
	}
	if w.view(i); f.Charge && b.Low(now) {
		w.ask(i, b.AskAhead(w.view(i), w.next, now))
	}
}

func (w *world) replied(i int, from Peer, r Reply, now int64) {
	n := w.nodes[i]
	k := wake(n.b).find(r.ID, from)
	var o open
	if k >= 0 {
		o = n.b.more.asking.open[k]
		if w.mut == lateHold {
			n.b.more.asking.open[k].hold = 100 * holdMost
		}
		if w.mut == longerLease {
			n.b.more.asking.open[k].at = now + TTL/2
		}
	}
	n.b.OnReply(from, &r, now)
	if k >= 0 && w.mut == duplicateGrant {
		n.b.more.asking.open = append(n.b.more.asking.open, o)
		n.b.more.asking.waiting++
	} else {
		delete(n.open, r.ID)
	}
}

// pass lets time pass. Exchanges without an answer are given up in time.
func (w *world) pass(d int64) {
	w.now += d
	for i, n := range w.nodes {
		if !n.up {
			continue
		}
		for id, s := range n.open {
			if w.now-s.at > 12e6 {
				n.b.Slow(id, s.to)
			}
			if w.now-s.at > 250e6 {
				n.b.Late(id, s.to, w.clock(i))
			}
			if w.now-s.at > 10e9 {
				n.b.Lost(id, s.to, w.clock(i))
				delete(n.open, id)
			}
		}
	}
}

func (w *world) tick(i int) {
	n := w.nodes[i]
	if !n.up {
		return
	}
	for _, m := range n.b.Tick(w.next, w.clock(i)) {
		if m.Renew != nil {
			w.send(i, m.To, *m.Renew)
			if !w.calm && w.draw(4) == 0 {
				n.b.RenewLost(m.Renew.ID, m.To)
			}
		} else {
			w.send(i, m.To, *m.Return)
		}
	}
}

func (w *world) crash(i int) {
	if w.nodes[i].up {
		w.nodes[i].up, w.nodes[i].quiet = false, w.now
	}
}

func (w *world) restart(i int) {
	n := w.nodes[i]
	if n.up {
		return
	}
	n.up, n.peer, n.open = true, w.name(i), map[uint64]sentAt{}
	n.to, n.from = len(w.log), w.first
	// What the process before it lent, from a base that it knew, has not ended yet.
	w.settling = max(w.settling, w.now+TTL*1002/1000+2e6)
	n.b = NewAfterStart(w.pace, w.base(i), w.clock(i), w.clock(i))
	if w.mut == noQuarantine {
		n.b = New(w.pace, w.base(i), w.clock(i))
		n.b.tok = 0
	}
}

// check is the invariants, after every step.
func (w *world) check() error {
	w.refill()
	if w.level < 0 {
		return fmt.Errorf("admitted %.6f units more than the limit", -float64(w.level)/float64(w.pace.Weight))
	}
	parts, toks := Part(0), int64(0)
	for i, n := range w.nodes {
		if !n.up {
			continue
		}
		n.b.Advance(w.clock(i))
		parts += n.b.part.wide()
		toks += n.b.tok
		if n.b.tok > n.b.cap {
			return fmt.Errorf("node %d: %d tokens above its cap of %d", i, n.b.tok, n.b.cap)
		}
		if err := w.bounded(n.b); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		if w.draw(2) == 0 {
			Rest(n.b, w.clock(i))
		}
	}
	if parts > One {
		return fmt.Errorf("the parts add up to %.6f", float64(parts)/float64(One))
	}
	if toks > w.level {
		return fmt.Errorf("tokens for %.6f units, the reference has %.6f", float64(toks)/float64(w.pace.Weight), float64(w.level)/float64(w.pace.Weight))
	}
	return nil
}

func (w *world) bounded(b *Bucket) error {
	m := b.more
	if m == nil {
		return nil
	}
	if w.mut == sound && (len(m.lent) > maxLent || len(m.held) > maxHeld || len(m.holds) > maxHolds || len(m.loose) > maxHolds ||
		len(m.views) > maxViews || len(m.past) > maxPeers || len(m.asking.open) > maxAsking || len(m.renewing) > maxRenewing || m.asking.waiting < 0) {
		return fmt.Errorf("beyond its bounds: %+v", *m)
	}
	return nil
}
