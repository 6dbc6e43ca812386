package lease

// Wait is one write that is becoming effective everywhere. Table.mu guards it.
type Wait struct {
	t       *Table
	index   uint64
	from    int64 // end of the wait for leases of earlier terms; 0: none
	state   State
	open    int // holders that have neither applied the write nor reached their end
	acks    []ack
	changed chan struct{}

	prev, next *Wait // in Table.waits
}

// ack is one holder of one wait. It is linked into the holder's queue until the
// holder has cleared the wait.
type ack struct {
	wait  *Wait
	id    string
	stale bool
	end   end
	how   string // "" while not cleared; LeaseEnded may still become Applied
	queue *queue // nil when not linked

	prev, next *ack
}

// Write returns a wait for the write at index. It must be called when the write has
// been applied here, in a term that this server leads; also for repeated requests
// and answers that changed nothing, with the index of the change that they rely on.
// takes means that the write takes a right away.
func (t *Table) Write(term, index uint64, takes bool, now int64) *Wait {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.at(now)
	w := &Wait{t: t, index: index}
	if !t.leading || term != t.term {
		w.state, w.changed = Lost, closed
		return w
	}
	// R and W change in one critical section: a renewal is recorded either before it,
	// and then it is in W, or after it, and then its R_x covers the write.
	t.r.raise(index, now)
	if takes {
		// Leases of earlier terms, of which this table knows nothing, were requested
		// before the election. A write that only gives rights need not wait for them.
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
		// The current end: later renewals never extend a wait, since they are granted
		// only to a node that has reported this write.
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

// Poll returns the state of the wait at now. While it is Waiting, poll again at next
// at the latest, or when Changed receives.
func (w *Wait) Poll(now int64) (state State, next int64) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.state != Waiting {
		return w.state, now
	}
	next = w.poll(w.t.at(now))
	return w.state, next
}

// poll clears the holders whose leases have ended, and finishes the wait if none is
// left; otherwise it returns the next end.
func (w *Wait) poll(now int64) int64 {
	var next int64
	for i := range w.acks {
		a := &w.acks[i]
		if a.how != "" {
			continue
		}
		if a.end.at <= now {
			// It stays in its queue: a report that arrives while the write still waits
			// for others confirms a node that serves without a lease.
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

// finish ends the wait and unlinks it everywhere.
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

// Changed returns a channel that receives when the wait may have finished before
// the time that Poll returned: on the last report it waited for, a later start of a
// node, a dropped renewal, or the end of the term. It holds one signal, so that
// none is lost between Poll and a select. It is for one reader.
func (w *Wait) Changed() <-chan struct{} { return w.changed }

func (w *Wait) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Nodes returns how each holder cleared the wait, by ID, including those that had
// applied the write from the start. Before the wait is Done, it contains only the
// holders that have cleared it so far.
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

// Effective reports whether no node serves the state before the write any more.
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

// Cancel releases a wait that its caller has given up. It is Lost from then on,
// unless it was Done.
func (w *Wait) Cancel() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.state == Waiting {
		w.finish(Lost)
	}
}
