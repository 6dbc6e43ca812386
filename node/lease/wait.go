package lease

// Wait is one write on its way to being true everywhere.
type Wait struct {
	t       *Table
	index   uint64
	from    int64 // when the new leader's wait is over; 0: the write has none
	state   State
	open    int // holders that are neither acknowledged nor past their end
	acks    []ack
	changed chan struct{}

	prev, next *Wait // in Table.waits
}

// ack is one holder of one wait: a link in the holder's queue while it has not
// cleared it.
type ack struct {
	wait  *Wait
	id    string
	stale bool
	end   end
	how   string // "" while not cleared; LeaseEnded may still become Applied
	queue *queue // nil when not linked

	prev, next *ack
}

// Write is called when the write at index has been applied here, in a term that
// this server leads; also for repeats and answers that changed nothing, with the
// index of the change that they stand on. takes says that it takes a right away.
func (t *Table) Write(term, index uint64, takes bool, now int64) *Wait {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.at(now)
	w := &Wait{t: t, index: index}
	if !t.leading || term != t.term {
		w.state, w.changed = Lost, closed
		return w
	}
	// R and W in one critical section: a renewal is recorded either before, and
	// then it is in W, or after, and then its R_x covers the write.
	t.r.raise(index, now)
	if takes {
		// Leases of earlier terms, of which this table knows nothing, were asked for
		// before the election. A write that only gives need not wait for them.
		w.from = t.electedAt + t.expiry
	}
	n := 0
	for _, m := range t.nodes {
		m.expire(now)
		if m.holds(now) || m.serves() {
			n++
		}
	}
	w.acks = make([]ack, 0, n) // never grows: its elements are linked
	for _, m := range t.nodes {
		if !m.holds(now) && !m.serves() {
			continue
		}
		// The ends as they are now: later renewals never extend a wait, since they
		// are granted only to a node that has reported this write.
		w.acks = append(w.acks, ack{wait: w, id: m.ID, stale: m.serves(), end: m.top})
		a := &w.acks[len(w.acks)-1]
		if m.rep >= index {
			a.how = Applied
			continue
		}
		m.queue.insert(a)
		w.open++
	}
	w.changed = closed
	if w.poll(now); w.state == Waiting {
		w.changed = make(chan struct{}, 1)
		if w.next = t.waits; w.next != nil {
			w.next.prev = w
		}
		t.waits = w
		t.waiting++
	}
	return w
}

// Poll says how the wait stands at now. While it is Waiting, it is worth polling
// again at next at the latest, and when Changed receives.
func (w *Wait) Poll(now int64) (state State, next int64) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.state != Waiting {
		return w.state, now
	}
	next = w.poll(w.t.at(now))
	return w.state, next
}

// poll clears the holders whose ends have passed, and finishes the wait if none
// is left; otherwise it returns the next end.
func (w *Wait) poll(now int64) int64 {
	var next int64
	for i := range w.acks {
		a := &w.acks[i]
		if a.how != "" {
			continue
		}
		if a.end.at <= now {
			// It stays in its queue: a report that comes while the write still waits for
			// others confirms a node that serves without a lease.
			a.how = LeaseEnded
			w.open--
		} else if next == 0 || a.end.at < next {
			next = a.end.at
		}
	}
	if w.open > 0 {
		return next
	}
	if now < w.from {
		return w.from
	}
	w.finish(Done)
	return now
}

// finish settles the wait and unlinks it everywhere.
func (w *Wait) finish(s State) {
	for i := range w.acks {
		a := &w.acks[i]
		if a.queue != nil {
			a.queue.unlink(a)
			if s == Done && a.stale {
				a.how = Unconfirmed
			}
		}
	}
	w.state = s
	t := w.t
	if w.prev == nil && t.waits != w {
		return // finished before it was listed
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		t.waits = w.next
	}
	w.prev, w.next = nil, nil
	t.waiting--
	w.signal()
}

// Changed receives when something may have let the wait finish before the time
// that Poll told: the last report it waited for, a later start of a node, a
// renewal that was dropped, a lost term. It holds one signal, so none is lost
// between Poll and a select, and is for one reader.
func (w *Wait) Changed() <-chan struct{} { return w.changed }

func (w *Wait) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Nodes tells how each holder cleared the wait, by ID, those that had applied the
// write when it was made included. Before the wait is Done it tells of those that
// have cleared it so far.
func (w *Wait) Nodes() []Ack {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	out := make([]Ack, 0, len(w.acks))
	for i := range w.acks {
		if a := &w.acks[i]; a.how != "" {
			out = append(out, Ack{a.id, a.how})
		}
	}
	return out
}

// Effective says that no node serves the state from before the write any more.
func (w *Wait) Effective() bool {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.state != Done {
		return false
	}
	for i := range w.acks {
		if w.acks[i].how == Unconfirmed {
			return false
		}
	}
	return true
}

// Cancel frees a wait that its caller gave up. It reports Lost from then on,
// unless it was Done.
func (w *Wait) Cancel() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.state == Waiting {
		w.finish(Lost)
	}
}
