package lease

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
)

// world is virtual time, a network that delays, drops, doubles and cuts, and the
// servers. One goroutine, one seed, the same run again.
type world struct {
	rng     *rand.Rand
	now     int64 // true time; no server sees it
	queue   events
	seq     uint64
	servers []*server
	cut     [][]bool // from, to
	end     int64

	committed   map[uint64]uint64 // term by index, as first learned
	cfg         Config
	every, pace int64   // of renewals and writes
	tail        float64 // how many messages are late
	calm        float64 // share of the faults that spare the leader
	prevote     bool
	stale       int  // the server that serves when isolated; -1: none
	slept       bool // a wait was Done, and neither Changed nor next had said so

	acked     uint64 // the newest index of a taking write that was answered as effective
	score     score
	violation string // the first one
}

// score counts the events of a run, so that a run without any is noticed.
type score struct {
	acks, violations               int
	grants, elections, again       int // again: a server that led before, in the same process
	byEnd, unconfirmed             int
	newLeader, lost, served, looks int
}

func (s *score) add(o score) {
	s.acks += o.acks
	s.violations += o.violations
	s.grants += o.grants
	s.elections += o.elections
	s.again += o.again
	s.byEnd += o.byEnd
	s.unconfirmed += o.unconfirmed
	s.newLeader += o.newLeader
	s.lost += o.lost
	s.served += o.served
	s.looks += o.looks
}

func (s score) String() string {
	return fmt.Sprintf("%d acknowledged, %d violations; %d grants, %d elections (%d of one that led before), waits ended by lease %d, by new-leader wait %d, unconfirmed %d, lost %d; a server serves at %d %% of the looks",
		s.acks, s.violations, s.grants, s.elections, s.again, s.byEnd, s.newLeader, s.unconfirmed, s.lost, 100*s.served/max(s.looks, 1))
}

type event struct {
	at  int64
	seq uint64
	to  *server // nil: the world
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	e := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = event{}
	*q = (*q)[:len(*q)-1]
	return e
}

func (w *world) push(at int64, to *server, do func()) {
	w.seq++
	heap.Push(&w.queue, event{at, w.seq, to, do})
}

func (w *world) run() {
	for len(w.queue) > 0 {
		e := heap.Pop(&w.queue).(event)
		if e.at > w.end {
			return
		}
		if s := e.to; s != nil && s.paused > e.at {
			// Messages that wait for a paused process arrive in any order: other threads,
			// other connections.
			w.push(s.paused+w.upTo(4*ms), s, e.do)
			continue
		}
		w.now = e.at
		if e.to != nil && !e.to.up {
			continue
		}
		e.do()
	}
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }
func (w *world) upTo(n int64) int64    { return w.rng.Int64N(n + 1) }

// between returns a number from lo to hi, small values as likely as large ones in proportion.
func (w *world) between(lo, hi int64) int64 { return lo + w.upTo(hi-lo) }

func (w *world) pick() *server { return w.servers[w.rng.IntN(len(w.servers))] }

// leader is one that believes it leads, if there is one.
func (w *world) leader() *server {
	var found []*server
	for _, s := range w.servers {
		if s.up && s.role == leads {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return w.pick()
	}
	return found[w.rng.IntN(len(found))]
}

// send delivers do at another server: late, never, or twice, and to whichever
// process runs there then.
func (w *world) send(from, to *server, do func()) {
	copies := 1
	if from != to && w.chance(0.01) {
		copies = 2
	}
	for range copies {
		delay := w.between(ms/10, 2*ms)
		if from == to {
			delay = w.upTo(ms / 10)
		} else {
			switch x := w.rng.Float64(); {
			case x < 0.01:
				continue
			case x < 0.01+w.tail:
				delay = w.between(10*ms, 300*ms)
			case x < 0.01+w.tail*1.4:
				delay = w.between(300*ms, 4*sec)
			}
		}
		w.push(w.now+delay, nil, func() {
			// A cut also stops messages in flight.
			if !w.cut[from.id][to.id] {
				w.push(w.now, to, do)
			}
		})
	}
}

// ack records that a write which takes a right away was answered as effective. From
// this moment of true time on, no node may serve the state before it.
func (w *world) ack(index uint64) {
	w.score.acks++
	w.acked = max(w.acked, index)
	for _, s := range w.servers {
		w.check(s)
	}
}

// check is enough at answers, grants and starts: in between, a server's lease
// only runs out and its index only rises. A paused server is judged as if it
// were not.
func (w *world) check(s *server) {
	w.score.looks++
	if !s.serving() {
		return
	}
	w.score.served++
	if s.applied < w.acked {
		w.score.violations++
		if w.violation == "" {
			w.violation = fmt.Sprintf("at %.3f s server %d serves index %d after %d was answered", float64(w.now)/1e9, s.id, s.applied, w.acked)
		}
	}
}

// trouble plans the next fault, and how it ends.
func (w *world) trouble(every int64) {
	w.push(w.now+w.upTo(2*every), nil, func() {
		s := w.leader()
		if w.chance(w.calm) {
			for range 8 {
				if s.role != leads {
					break
				}
				s = w.pick()
			}
		}
		switch w.rng.IntN(13) {
		case 0, 1:
			s.pause(w.long())
		case 2:
			w.isolate(s, w.chance(0.5), true, w.long())
		case 3:
			w.isolate(s, true, w.chance(0.5), w.long())
		case 4: // one direction between two
			from, to := s, w.pick()
			w.cut[from.id][to.id] = true
			w.push(w.now+w.long(), nil, func() { w.cut[from.id][to.id] = false })
		case 5:
			s.restart(w.between(20*ms, 2*sec), w.chance(0.7))
		case 10: // as a supervisor does it
			s.restart(w.between(5*ms, 100*ms), w.chance(0.7))
		case 6, 11: // paused, and cut off before it goes on with messages it had received
			n := w.between(600*ms, 6*sec)
			s.pause(n)
			w.push(w.now+n-w.upTo(n), nil, func() { w.isolate(s, w.chance(0.8), w.chance(0.5), n+w.long()) })
		case 7: // the same server again, or another, while the leader is well
			if s.up && !w.chance(w.calm) {
				w.push(w.now, s, s.campaign)
			}
		case 8: // leadership goes away and comes back
			l := w.leader()
			if o := w.pick(); l.up && o.up && !w.chance(w.calm) {
				w.push(w.now, o, o.campaign)
				w.push(w.now+w.between(500*ms, 4*sec), l, l.campaign)
			}
		case 9, 12:
			s.slowly()
		}
		w.trouble(every)
	})
}

func (w *world) long() int64 {
	switch x := w.rng.Float64(); {
	case x < 0.4:
		return w.between(50*ms, sec)
	case x < 0.9:
		return w.between(sec, 8*sec)
	}
	return w.between(8*sec, 20*sec)
}

// isolate cuts the messages to a server, from it, or both.
func (w *world) isolate(s *server, in, out bool, n int64) {
	for _, o := range w.servers {
		if o == s {
			continue
		}
		w.cut[o.id][s.id] = w.cut[o.id][s.id] || in
		w.cut[s.id][o.id] = w.cut[s.id][o.id] || out
	}
	w.push(w.now+n, nil, func() {
		for _, o := range w.servers {
			w.cut[o.id][s.id], w.cut[s.id][o.id] = false, false
		}
	})
}
