package lease

// queue is a list of the waits that one node has not cleared, ordered by index. A
// report clears a prefix; its cost depends only on the length of that prefix.
// Writes arrive nearly in order, so that each is inserted near the tail.
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

// settle records how a was cleared, and signals the wait if it was the last one.
func (a *ack) settle(how string) {
	if a.how == "" {
		if a.wait.open--; a.wait.open == 0 {
			a.wait.signal()
		}
	}
	a.how = how
}

// applied clears the waits up to the index that the node has applied.
func (q *queue) applied(rep uint64) {
	for a := q.head; a != nil && a.wait.index <= rep; a = q.head {
		q.unlink(a)
		a.settle(Applied)
	}
}

// ended clears all waits, because the process they wait for is dead. For a suspect
// node that is true of the lease only: the process that serves without one may be
// the new one, so that the wait stays in the queue until it reports.
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

// dropped makes the waits that counted a record count the one below it instead.
// Their callers poll again, because the end is nearer now.
func (q *queue) dropped(r *record) {
	for a := q.head; a != nil; a = a.next {
		if a.end.seq == r.seq {
			a.end = r.below
			a.wait.signal()
		}
	}
}
