package lease

import "slices"

type role int

const (
	follows role = iota
	asks
	leads
)

// server is one process with its disk: a Raft of whole logs instead of entries,
// with votes, terms and commits as in the paper, so that an old leader can still
// commit exactly the entries that a real one can.
type server struct {
	w      *world
	id     int
	rate   float64 // its clock's seconds per true second
	zero   int64
	up     bool
	paused int64 // until, in true time
	slow   int64 // until; applying is behind by lag then
	lag    int64
	busy   int64

	// Durable.
	boot     uint64
	term     uint64
	voted    int
	log      []uint64 // the term of each entry; index 1 is log[0]
	accepted uint64   // the term of the leader that log was taken from
	applied  uint64   // falls back at a crash

	// Of this process.
	role    role
	boss    *server
	commit  uint64
	heard   int64 // from a leader, by its clock
	votes   map[int]bool
	match   []uint64
	timer   uint64 // of the election; another one makes it void
	flush   bool
	propose []proposal
	led     int
	own     own
}

type proposal struct {
	index uint64
	done  func()
}

// clock returns this server's monotonic time.
func (s *server) clock() int64 { return s.zero + int64(float64(s.w.now)*s.rate) }

// after runs do in d of this server's own time, if the same process still runs.
func (s *server) after(d int64, do func()) {
	boot := s.boot
	s.w.push(s.w.now+int64(float64(d)/s.rate), s, func() {
		if s.boot == boot {
			do()
		}
	})
}

func (s *server) pause(d int64) { s.paused = max(s.paused, s.w.now+d) }

// start starts a new process from the state on disk.
func (s *server) start() {
	s.up, s.boot, s.busy, s.heard = true, s.boot+1, 0, 0
	s.role, s.boss, s.commit, s.propose, s.flush, s.led = follows, nil, s.applied, nil, false, 0
	s.await()
	s.begin()
}

// restart kills the process. The state was not synced, so that it may come back older.
func (s *server) restart(down int64, slowly bool) {
	if !s.up {
		return
	}
	s.up, s.paused = false, 0
	if s.w.chance(0.7) {
		s.applied -= min(s.applied, uint64(s.w.upTo(400)))
	}
	s.w.push(s.w.now+down, nil, func() {
		s.start()
		if slowly {
			s.slowly()
		}
	})
}

// slowly simulates an overloaded disk or processor.
func (s *server) slowly() {
	s.slow = s.w.now + s.w.between(sec, 8*sec)
	s.lag = s.w.between(5*ms, 240*ms)
	if s.w.chance(0.5) {
		s.lag = s.w.between(200*ms, 7*sec)
	}
}

func (s *server) await() {
	s.timer++
	timer := s.timer
	s.after(s.w.between(300*ms, 600*ms), func() {
		if s.timer == timer && s.role != leads {
			s.sound()
		}
	})
}

func (s *server) last() (term, index uint64) {
	if n := len(s.log); n > 0 {
		return s.log[n-1], uint64(n)
	}
	return 0, 0
}

// sound asks whether the others would vote (pre-vote), so that a server which was
// cut off does not end a leader's term when it returns. Not all clusters have it.
func (s *server) sound() {
	if !s.w.prevote {
		s.campaign()
		return
	}
	s.await()
	timer, yes := s.timer, map[int]bool{s.id: true}
	lastTerm, lastIndex := s.last()
	for _, o := range s.w.servers {
		if o == s {
			continue
		}
		s.w.send(s, o, func() {
			t, i := o.last()
			if o.role == leads || o.clock()-o.heard < 300*ms || lastTerm < t || lastTerm == t && lastIndex < i {
				return
			}
			s.w.send(o, s, func() {
				yes[o.id] = true
				if s.timer == timer && len(yes) > len(s.w.servers)/2 {
					s.campaign()
				}
			})
		})
	}
}

func (s *server) campaign() {
	s.follow(s.term + 1)
	s.role, s.voted, s.votes = asks, s.id, map[int]bool{s.id: true}
	s.await()
	term := s.term
	lastTerm, lastIndex := s.last()
	for _, o := range s.w.servers {
		if o == s {
			continue
		}
		s.w.send(s, o, func() {
			if term > o.term {
				o.follow(term)
			}
			t, i := o.last()
			if term < o.term || o.voted >= 0 && o.voted != s.id || lastTerm < t || lastTerm == t && lastIndex < i {
				return
			}
			o.voted = s.id
			o.await()
			s.w.send(o, s, func() {
				if s.term == term && s.role == asks {
					s.won(o.id)
				}
			})
		})
	}
}

func (s *server) won(from int) {
	if s.votes[from] = true; len(s.votes) <= len(s.w.servers)/2 {
		return
	}
	s.role, s.boss, s.accepted = leads, s, s.term
	s.match = make([]uint64, len(s.w.servers))
	s.timer++
	s.w.score.elections++
	if s.led++; s.led > 1 {
		s.w.score.again++
	}
	s.lead()
	s.beat()
}

// follow abandons everything that s did in an older term.
func (s *server) follow(term uint64) {
	was := s.role
	if term > s.term {
		s.term, s.voted = term, -1
	}
	s.role, s.propose, s.boss = follows, nil, nil
	if was == leads {
		s.await()
		s.deposed()
	}
}

func (s *server) beat() {
	term := s.term
	if s.role != leads {
		return
	}
	s.replicate()
	s.after(50*ms, func() {
		if s.term == term {
			s.beat()
		}
	})
}

// add proposes an entry; done runs here when it was committed and applied in the
// term it was proposed in.
func (s *server) add(done func()) uint64 {
	s.log = append(s.log, s.term)
	index := uint64(len(s.log))
	s.propose = append(s.propose, proposal{index, done})
	if !s.flush {
		s.flush = true
		s.after(s.w.upTo(ms), func() {
			s.flush = false
			if s.role == leads {
				s.replicate()
			}
		})
	}
	return index
}

func (s *server) replicate() {
	s.match[s.id] = uint64(len(s.log))
	term, log, commit := s.term, s.log[:len(s.log):len(s.log)], s.commit
	for _, o := range s.w.servers {
		if o != s {
			s.w.send(s, o, func() { o.take(s, term, log, commit) })
		}
	}
}

func (s *server) take(from *server, term uint64, log []uint64, commit uint64) {
	if term < s.term {
		now := s.term
		s.w.send(s, from, func() {
			if now > from.term {
				from.follow(now)
			}
		})
		return
	}
	if term > s.term || s.role != follows {
		s.follow(term)
	}
	s.boss, s.heard = from, s.clock()
	s.await()
	if s.accepted < term || len(log) > len(s.log) {
		s.log, s.accepted = log, term
	}
	s.learn(min(commit, uint64(len(log))))
	match := uint64(len(log))
	s.w.send(s, from, func() {
		if from.role == leads && from.term == term {
			from.match[s.id] = max(from.match[s.id], match)
			all := slices.Sorted(slices.Values(from.match))
			// The median is on a majority; only an entry of the own term commits.
			if n := all[(len(all)-1)/2]; n > from.commit && from.log[n-1] == term {
				from.learn(n)
			}
		}
	})
}

// learn applies committed entries, at this server's own pace.
func (s *server) learn(commit uint64) {
	if commit <= s.commit {
		return
	}
	s.commit = commit
	// A property of the model itself: committed entries are the same everywhere.
	if was, ok := s.w.committed[commit]; ok && was != s.log[commit-1] {
		panic("the simulated log is not one")
	}
	s.w.committed[commit] = s.log[commit-1]
	// One entry after the other: a slow server lags all the time.
	d := s.w.upTo(2 * ms)
	if s.w.now < s.slow {
		d += s.lag
	}
	s.busy = max(s.busy, s.w.now+d)
	s.after(s.busy-s.w.now, func() {
		if commit > s.applied {
			s.applied = commit
			s.reached()
		}
	})
}

// reached runs the functions that waited for an index, a little later: the waiter
// is another goroutine, and the term may have ended by then.
func (s *server) reached() {
	for len(s.propose) > 0 && s.propose[0].index <= s.applied {
		s.after(s.w.upTo(3*ms), s.propose[0].done)
		s.propose = s.propose[1:]
	}
	s.report()
}
