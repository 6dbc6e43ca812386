package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// world is nodes that follow a log at their own speed, start, crash and join, and share the
// buckets of what the log creates. A reference bucket for each is fed with what they admit.
type world struct {
	*rand.Rand
	now     int64
	log     []entry
	rosters []roster.Roster // at the end of the log
	nodes   []*member
	procs   share.Peer
	pace    share.Pace
	things  []*thing
	ids     uint64
	whole   bool // nobody has admitted anything before the first roster
	n       int  // admitted
	resumed int
}

// entry is one of the log; index i+1. rosters is the state after it.
type entry struct {
	rosters []roster.Roster
	made    *thing
}

// thing is what has a limit.
type thing struct {
	name  Name
	index uint64
	used  int64 // levels, by a node that was alone
	level int64 // of the reference
	at    int64
}

// member is a node; its pool is nil while it is not running.
type member struct {
	id      string
	pool    *Pool
	peer    share.Peer
	applied int
	boot    int    // entries of the log when its process started
	news    int64  // when it applied the newest roster, in this process
	leased  bool   // it may admit and lend; granted once it has applied the newest roster
	quiet   int64  // when it stopped or crashed; 0 before it has run
	saved   []byte // by a clean stop
}

const settleAfter = share.TTL + share.TTL/500 + 2e6

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), now: 1000 * sec}
	burst := []int64{1, 5, 20, 60, 600}[w.IntN(5)]
	w.pace = share.Minute([]int64{6, 60, 600}[w.IntN(3)], burst)
	w.whole = w.IntN(2) == 0
	for i := range 4 {
		w.nodes = append(w.nodes, &member{id: fmt.Sprintf("n%d", i)})
	}
	w.create()
	if !w.whole { // the first node was alone, and goes on as a cluster
		w.nodes[0].applied = 1
		w.things[0].used = w.Int64N(burst+1) * w.pace.Weight
		w.things[0].level -= w.things[0].used
	}
	return w
}

func (w *world) create() {
	if len(w.things) == 4 {
		return
	}
	x := &thing{index: uint64(len(w.log) + 1), level: w.pace.Burst * w.pace.Weight, at: w.now}
	copy(x.name[:], fmt.Sprintf("thing %d", len(w.things)))
	w.things = append(w.things, x)
	w.log = append(w.log, entry{w.rosters, x})
}

// announce makes a roster of some nodes.
func (w *world) announce() {
	if len(w.rosters) >= 4 {
		return
	}
	first := !slices.ContainsFunc(w.log, func(e entry) bool { return e.rosters != nil })
	r := roster.Roster{Index: uint64(len(w.log) + 1), First: first, Whole: first && w.whole}
	for _, m := range w.nodes {
		if w.IntN(3) > 0 {
			r.Nodes = append(r.Nodes, m.id)
		}
	}
	if len(r.Nodes) == 0 || first && !slices.Contains(r.Nodes, "n0") {
		return
	}
	w.rosters = append(slices.Clone(w.rosters), r)
	w.log = append(w.log, entry{w.rosters, nil})
}

// settle settles the newest roster once every node has followed it long enough, or is gone.
func (w *world) settle() {
	if len(w.rosters) < 2 {
		return
	}
	last := w.rosters[len(w.rosters)-1]
	for _, m := range w.nodes {
		switch {
		case m.pool == nil && m.quiet == 0:
		case m.pool == nil && w.now >= m.quiet+settleAfter:
		case m.pool != nil && m.applied >= int(last.Index) && w.now >= m.news+settleAfter:
		default:
			return
		}
	}
	w.rosters = w.rosters[len(w.rosters)-1:]
	w.log = append(w.log, entry{w.rosters, nil})
}

func (w *world) start(m *member) {
	if m.pool != nil {
		return
	}
	m.boot = m.applied
	m.applied += w.IntN(len(w.log) - m.applied + 1) // while it starts
	m.pool = New(m.id)
	w.procs++
	m.peer, m.news, m.leased = w.procs, w.now, false
	if m.saved == nil || m.pool.Resume(m.saved, w.at(m), 0, w.now) != nil {
		m.pool.Begin(w.at(m), uint64(m.boot), w.now)
	} else {
		w.resumed++
	}
	m.saved = nil
	w.meet()
}

func (w *world) at(m *member) []roster.Roster {
	if m.applied == 0 {
		return nil
	}
	return w.log[m.applied-1].rosters
}

// lease grants a lease. It is not taken away: the settling waits for the node instead.
func (w *world) lease(m *member) {
	if m.pool != nil && m.pool.On() && m.applied >= int(w.rosters[len(w.rosters)-1].Index) {
		m.leased = true
	}
}

// meet has the processes know each other.
func (w *world) meet() {
	for _, m := range w.nodes {
		if m.pool == nil {
			continue
		}
		r := &Reach{}
		for _, o := range w.nodes {
			if o != m && o.pool != nil {
				r.Nodes, r.Peers = append(r.Nodes, o.id), append(r.Peers, o.peer)
			}
		}
		m.pool.SetReach(r)
	}
}

func (w *world) apply(m *member) {
	if m.pool == nil || m.applied == len(w.log) {
		return
	}
	m.applied++
	if rs := w.at(m); !slices.EqualFunc(rs, m.pool.Line().Rosters(), func(a, b roster.Roster) bool { return a.Index == b.Index }) {
		if !m.pool.Follow(rs, m.leased, w.now) {
			panic("one entry does not follow")
		}
		m.news = w.now
	}
}

func (w *world) terms(m *member, x *thing) Terms {
	t := Terms{Pace: w.pace, Created: x.index}
	if m.pool.Grown() {
		t.Alone, t.Used = true, max(0, x.used-w.pace.Refill(w.now-1000*sec)+w.pace.Rate)
	}
	return t
}

// request is one at a node, and the questions that it leads to.
func (w *world) request(m *member, x *thing) {
	if w.lease(m); m.pool == nil || m.applied < int(x.index) || !m.leased {
		return
	}
	b := m.pool.Shard(x.name).Open(nil, x.name, w.terms(m, x), w.now)
	b.Count(1, w.now)
	if !b.Has(1) {
		for _, q := range b.Ask(1, b.Peers(), func() uint64 { w.ids++; return w.ids }, w.Uint64(), w.now) {
			w.exchange(m, x, q)
		}
	}
	if b.Has(1) {
		b.Spend(1)
		w.n++
		w.refill(x)
		x.level -= w.pace.Weight
	}
}

func (w *world) exchange(m *member, x *thing, q share.Sent) {
	for _, o := range w.nodes {
		if o.pool == nil || o.peer != q.To || !o.leased || o.applied < int(x.index) || w.IntN(8) == 0 {
			continue
		}
		r, ok := o.pool.Shard(x.name).Open(nil, x.name, Terms{Pace: w.pace, Created: x.index}, w.now).OnFetch(m.peer, &q.Fetch, w.now)
		if ok && w.IntN(8) > 0 {
			m.pool.Shard(x.name).Open(nil, x.name, w.terms(m, x), w.now).OnReply(o.peer, &r, w.now)
			return
		}
	}
	m.pool.Shard(x.name).Find(x.name, w.now).Lost(q.Fetch.ID, q.To, w.now)
}

func (w *world) refill(x *thing) {
	x.level = min(w.pace.Burst*w.pace.Weight, x.level+(w.now-x.at)*w.pace.Rate)
	x.at = w.now
}

func (w *world) step() {
	m := w.nodes[w.IntN(len(w.nodes))]
	switch k := w.IntN(100); {
	case k < 55:
		w.request(m, w.things[w.IntN(len(w.things))])
	case k < 75:
		w.apply(m)
	case k < 85:
		w.now += w.Int64N(400 * 1e6)
	case k < 88:
		w.now += w.Int64N(4 * sec)
	case k < 89:
		w.create()
	case k < 91:
		w.announce()
	case k < 95:
		w.settle()
	case k < 98:
		w.start(m)
	case k < 99 && m.pool != nil:
		if w.IntN(2) == 0 {
			m.saved, _ = m.pool.Save(w.now)
		}
		m.pool, m.quiet = nil, w.now
		w.meet()
	default:
		m.tick(w.now)
	}
}

// tick drops idle buckets. Loans are not renewed: they end.
func (m *member) tick(now int64) {
	if m.pool != nil && m.pool.On() {
		m.pool.Each(func(s *Shard) { s.Tick(now, func(*Bucket) {}) })
	}
}

func (w *world) check() error {
	for i, x := range w.things {
		w.refill(x)
		tok := int64(0)
		for _, m := range w.nodes {
			if w.lease(m); m.pool == nil || !m.leased {
				continue
			}
			if b := m.pool.Shard(x.name).Find(x.name, w.now); b != nil {
				tok += b.State(w.now).Tok
			}
		}
		if x.level < 0 || tok > x.level {
			return fmt.Errorf("thing %d: tokens for %.3f units; one bucket has %.3f", i, float64(tok)/float64(w.pace.Weight), float64(x.level)/float64(w.pace.Weight))
		}
	}
	return nil
}

// However nodes start, join, crash and follow the log: buckets that begin never have more
// than one bucket would.
func TestBeginningsNeverGiveMoreThanOneBucket(t *testing.T) {
	runs := uint64(300)
	if os.Getenv("PERFGATE_TORTURE") != "" {
		runs = 20_000
	}
	admitted, resumed := 0, 0
	for seed := range runs {
		w := newWorld(seed)
		for i := range 3000 {
			w.step()
			if err := w.check(); err != nil {
				t.Fatalf("seed %d, step %d, burst %d: %v", seed, i, w.pace.Burst, err)
			}
		}
		admitted += w.n
		resumed += w.resumed
	}
	if admitted < int(runs)*40 || resumed < int(runs)*2 {
		t.Errorf("admitted %d, and %d times after a clean stop, in %d runs: the histories test nothing", admitted, resumed, runs)
	}
}
