package lease

// queue is the waits that one node has not cleared, by index: a report clears a
// prefix, and costs what it clears however many wait. Writes come nearly in
// order, so one is inserted near the tail.
type queue struct {
	head, tail *ack
}

func (q *queue) insert(a *ack) {
	a.queue = q
	at := q.tail
	for at != nil && at.wait.index > a.wait.index {
		at = at.prev
	}
	if a.prev = at; at != nil {
		a.next, at.next = at.next, a
	} else {
		a.next, q.head = q.head, a
	}
	if a.next != nil {
		a.next.prev = a
	} else {
		q.tail = a
	}
}

func (q *queue) unlink(a *ack) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		q.head = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	} else {
		q.tail = a.prev
	}
	a.prev, a.next, a.queue = nil, nil, nil
}

// settle notes how a was cleared, and tells the wait if nothing else is open.
func (a *ack) settle(how string) {
	if a.how == "" {
		if a.wait.open--; a.wait.open == 0 {
			a.wait.signal()
		}
	}
	a.how = how
}

// applied clears what the node has applied.
func (q *queue) applied(rep uint64) {
	for a := q.head; a != nil && a.wait.index <= rep; a = q.head {
		q.unlink(a)
		a.settle(Applied)
	}
}

// ended clears everything: the process that was waited for is dead. Of a node
// under suspicion only its lease is: what serves without one may be the new
// process, so it stays until it reports.
func (q *queue) ended(suspect bool) {
	for a := q.head; a != nil; {
		next := a.next
		if !suspect {
			q.unlink(a)
		}
		a.settle(LeaseEnded)
		a = next
	}
}

// dropped lets the waits that counted on a record fall back on what was below
// it; their callers poll again, for the end is nearer now.
func (q *queue) dropped(r *record) {
	for a := q.head; a != nil; a = a.next {
		if a.end.seq == r.seq {
			a.end = r.below
			a.wait.signal()
		}
	}
}
