package lease

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// own is the state that the integrating code of one process keeps. This file calls
// the table as package node does, in the same order, but in virtual time.
type own struct {
	table *Table
	lease *Lease
	// stale: this process serves without a lease, after a renewal with stale was granted.
	stale     bool
	renewals  []*renewal
	waits     []*waiter
	reporting bool
	sent      int64 // newest renewal; only a mutant reads it
}

type renewal struct {
	tk     Ticket
	term   uint64
	after  uint64 // a commit proves if it was proposed at a later index
	proven bool
	over   bool
	from   int64
	reply  func()
}

type waiter struct {
	*Wait
	index uint64
	takes bool
	next  int64
}

func (s *server) me() Node { return Node{strconv.Itoa(s.id), s.boot} }

// serve: the server is configured to serve while isolated.
func (s *server) serve() bool { return s.w.stale == s.id }

func (s *server) serving() bool {
	return s.up && (s.own.lease.Valid(s.clock(), 0) || s.own.stale)
}

func (s *server) begin() {
	s.own = own{table: NewTable(s.w.cfg), lease: new(Lease)}
	s.after(s.w.upTo(50*ms), s.renew)
	s.after(2*ms, s.tick)
}

// lead begins a term, once the barrier, its first entry, is applied.
func (s *server) lead() {
	term := s.term
	s.add(func() {
		for _, o := range s.w.servers {
			if o.serve() {
				s.own.table.Suspect(o.me().ID)
			}
		}
		s.own.table.Begin(term, s.clock(), s.applied)
	})
	s.write()
}

func (s *server) deposed() {
	if s.w.chance(0.5) {
		s.after(s.w.upTo(50*ms), func() {
			if s.role != leads {
				s.own.table.End()
			}
		})
	}
}

// meant drops messages that were sent in another term, as Suspect demands. Where no node
// serves without a lease it makes no difference, so it is not done there.
func (s *server) meant(term uint64) bool { return s.w.stale < 0 || s.own.table.term == term }

// report sends the applied index to the leader, coalesced.
func (s *server) report() {
	if s.own.reporting {
		return
	}
	s.own.reporting = true
	s.after(s.w.between(ms, 3*ms), func() {
		s.own.reporting = false
		if to := s.boss; to != nil {
			me, rep, term := s.me(), s.applied, s.term
			s.w.send(s, to, func() {
				if to.meant(term) {
					to.own.table.Report(me, rep, to.clock())
				}
			})
		}
	})
}

// renew asks for a lease; several may be in progress.
func (s *server) renew() {
	s.after(s.w.every, s.renew)
	to := s.boss
	if s.w.chance(0.05) {
		to = s.w.pick() // one that led, perhaps
	}
	if to == nil {
		return
	}
	me, rep, sent, term := s.me(), s.applied, s.clock(), s.term
	s.own.sent = sent
	stale := s.serve() && s.own.lease.Left(0) > 0
	s.w.send(s, to, func() {
		if !to.meant(term) {
			return
		}
		to.renewed(me, rep, stale, func() {
			s.w.score.grants++
			s.w.send(to, s, func() {
				if s.boot != me.Boot {
					return // the answer to a dead process's request
				}
				s.own.lease.Granted(sent, 0, s.w.cfg.Duration)
				s.own.stale = s.own.stale || stale
				s.w.check(s)
			})
		})
	})
}

// renewed handles a renewal at the leader, until it is granted or dropped.
func (s *server) renewed(n Node, rep uint64, stale bool, reply func()) {
	tk, err := s.own.table.Renew(n, rep, stale, s.clock())
	if err != nil {
		return
	}
	r := &renewal{tk: tk, term: s.term, after: uint64(len(s.log)), reply: reply}
	if s.w.chance(0.1) {
		r.from = s.clock() + s.w.upTo(int64(GrantWithin)) // its goroutine gets no turn
	}
	s.own.renewals = append(s.own.renewals, r)
	s.after(3*ms, func() {
		if s.role == leads && s.term == r.term && uint64(len(s.log)) == r.after {
			s.barrier()
		}
	})
	gone := int64(GrantWithin) + s.w.upTo(200*ms)
	if s.w.chance(0.1) {
		gone = s.w.upTo(int64(GrantWithin))
	}
	s.after(gone, func() {
		if !r.over {
			r.over = true
			s.own.table.Drop(r.tk)
		}
	})
}

func (s *server) barrier() {
	term, index := s.term, uint64(0)
	index = s.add(func() { s.committed(term, index) })
}

// committed informs renewals about a commit that proves leadership.
func (s *server) committed(term, index uint64) {
	for _, r := range s.own.renewals {
		if term == r.term && index > r.after {
			r.proven = true
		}
	}
	s.grant()
}

func (s *server) grant() {
	for _, r := range s.own.renewals {
		if !r.over && r.proven && s.clock() >= r.from && s.own.table.Grant(r.tk, r.term, s.clock()) {
			r.over = true
			if s.w.chance(0.1) {
				s.after(s.w.upTo(3*sec), r.reply) // granted, and sent late
			} else {
				r.reply()
			}
		}
	}
	s.own.renewals = slices.DeleteFunc(s.own.renewals, func(r *renewal) bool { return r.over })
}

// write is constant traffic while s leads.
func (s *server) write() {
	term := s.term
	if len(s.own.waits) < 64 {
		index, takes := uint64(0), s.w.chance(0.8)
		index = s.add(func() {
			s.committed(term, index)
			s.settle(term, index, takes)
			if s.w.chance(0.02) { // a repeat, which passes the same wait
				s.settle(term, index-min(index-1, uint64(s.w.upTo(50))), true)
			}
		})
	}
	s.after(s.w.between(1, 2*s.w.pace), func() {
		if s.role == leads && s.term == term {
			s.write()
		}
	})
}

// settle waits until a write is effective.
func (s *server) settle(term, index uint64, takes bool) {
	x := &waiter{Wait: s.own.table.Write(term, index, takes, s.clock()), index: index, takes: takes}
	if !s.poll(x) {
		s.own.waits = append(s.own.waits, x)
	}
}

// poll answers the client of a wait that has finished.
func (s *server) poll(x *waiter) bool {
	state, next := x.Poll(s.clock())
	x.next = next
	if state == Waiting {
		return false
	}
	if state == Lost {
		s.w.score.lost++
		return true
	}
	open := false
	for _, a := range x.Nodes() {
		switch a.How {
		case LeaseEnded:
			open = true
		case Unconfirmed:
			s.w.score.unconfirmed++
		}
	}
	if open {
		s.w.score.byEnd++
	}
	if x.takes && x.Effective() {
		s.w.ack(x.index)
	}
	return true
}

// tick replaces the goroutines that wait for a channel or a time.
func (s *server) tick() {
	s.after(s.w.between(ms, 3*ms), s.tick)
	s.grant()
	s.own.waits = slices.DeleteFunc(s.own.waits, func(x *waiter) bool {
		if signalled(x.Wait) {
			return s.poll(x)
		}
		if s.clock() >= x.next {
			if x.next == x.from {
				s.w.score.newLeader++
			}
			return s.poll(x)
		}
		if s.w.chance(0.01) && s.poll(x) {
			s.w.slept = true
			return true
		}
		return false
	})
}

// simulate is one run: everything about it follows from the seed.
func simulate(seed uint64, cfg Config) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 5)), cfg: cfg, stale: -1, end: 60 * sec, committed: map[uint64]uint64{}}
	n := 3
	if w.chance(0.4) {
		n = 5
	}
	w.pace = w.between(4*ms, 20*ms)
	w.tail, w.calm, w.prevote = 0.06*w.rng.Float64(), 0.4, w.chance(0.8)
	if w.chance(0.6) {
		w.calm = 0.95
	}
	w.every = w.between(200*ms, 600*ms)
	if w.chance(0.2) {
		w.stale = w.rng.IntN(n)
	}
	w.cut = make([][]bool, n)
	for i := range n {
		w.cut[i] = make([]bool, n)
		s := &server{w: w, id: i, zero: 1000*sec + w.upTo(1000*sec), voted: -1, rate: 0.98 + 0.04*w.rng.Float64()}
		switch w.rng.IntN(3) {
		case 0:
			s.rate = 0.98
		case 1:
			s.rate = 1.02
		}
		w.servers = append(w.servers, s)
	}
	for _, s := range w.servers {
		s.start()
	}
	w.trouble(w.between(300*ms, 4*sec))
	w.run()
	return w
}

// After a write that takes a right away was answered as effective, no node serves
// without it. PERFGATE_TORTURE=1 is 1,200 runs; PERFGATE_SEED=n is one.
func TestSimulation(t *testing.T) {
	runs, seed := 8, uint64(1)
	if os.Getenv("PERFGATE_TORTURE") != "" {
		runs, seed = 1200, uint64(time.Now().UnixNano()>>20)
	}
	if s := os.Getenv("PERFGATE_RUNS"); s != "" {
		runs, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("PERFGATE_SEED"); s != "" {
		runs = 1
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	var all score
	bad := 0
	for i := range uint64(runs) {
		w := simulate(seed+i, Default)
		all.add(w.score)
		if w.violation != "" {
			if bad++; bad <= 5 {
				t.Errorf("seed %d: %d violations; %s", seed+i, w.score.violations, w.violation)
			}
		}
		if w.slept {
			t.Errorf("seed %d: a wait was over and nobody was told", seed+i)
		}
	}
	t.Logf("%d runs from seed %d, violations in %d: %v", runs, seed, bad, all)
	if all.acks < 100*runs || all.grants < 50*runs {
		t.Errorf("the runs try too little")
	}
}
