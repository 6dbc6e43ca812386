package lease

import (
	"slices"
	"strings"
	"sync"
)

// Table is the leader's half: which nodes hold a lease or may be about to, and the
// index that each has applied. It is kept in memory and belongs to one term. It is
// safe for concurrent use; one mutex guards it and its waits, and every method is
// one critical section.
type Table struct {
	cfg    Config
	expiry int64 // D(1+ε)

	mu        sync.Mutex
	now       int64 // the latest time of any caller
	leading   bool
	term      uint64
	electedAt int64
	r         floor
	seq       uint64    // of tickets, never reused
	nodes     []*member // by ID
	waits     *Wait     // all in progress, doubly linked
	waiting   int
}

// member is the leader's state of one node in this term. Table.mu guards it.
type member struct {
	Node
	rep  uint64 // newest applied index it reported
	seen int64
	// Both mean that the node may serve without a lease: stale, because this process
	// said so; suspect, because of an earlier term or a call of Suspect. A late
	// message of a dead process may be the first one of a term, so that only Forget
	// ends suspicion.
	stale, suspect bool

	// The leases that the node can hold: until is granted, pending may be granted.
	// top is the newest of both that was not dropped. x never goes back, so that a
	// later record ends no earlier, and top alone is the end of the last possible
	// lease.
	until   int64
	pending []*record
	top     end

	queue queue // waits that this node has not cleared
}

// end is the end of one record's lease by the leader's clock. The zero end belongs
// to no record.
type end struct {
	seq uint64
	at  int64
}

// record is a renewal between Renew and Grant or Drop.
type record struct {
	end
	x     int64
	need  uint64
	below end           // end of the node's lease if this record is dropped
	ready chan struct{} // closed once Grant can decide; nil if it could from the start
}

func (r *record) wake() {
	if r.ready != nil {
		close(r.ready)
		r.ready = nil
	}
}

// NewTable returns a table of a server that does not lead.
func NewTable(c Config) *Table {
	if c.Duration <= 0 || c.Drift < 0 || c.JoinLag < 0 {
		panic("BUG: lease: invalid duration, drift or lag")
	}
	return &Table{cfg: c, expiry: c.expiry(), r: floor{lag: int64(c.JoinLag)}}
}

// Begin records that this server leads in term, the term of its own first entry,
// and that its barrier of that term was applied, so that applied covers everything
// that earlier terms committed. State of another term is discarded, even if it is
// this server's own: others led in between, and granted leases. A call with the
// current term only raises R. A call with an earlier term is late and ignored.
func (t *Table) Begin(term uint64, now int64, applied uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.at(now)
	if t.leading && term == t.term {
		t.r.raise(applied, now)
		return
	}
	if term < t.term {
		return
	}
	t.lose()
	t.leading, t.term, t.electedAt = true, term, now
	t.r.begin(applied)
}

// Require makes every later lease of term require that its node has applied index. False:
// this server does not lead in term.
func (t *Table) Require(term, index uint64, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.leading || term != t.term {
		return false
	}
	t.r.raise(index, t.at(now))
	return true
}

// End records the loss of leadership: nothing is granted and no wait completes
// until the next Begin. It may be called late or never; Begin does not rely on it.
func (t *Table) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lose()
	t.leading = false
}

// lose discards the state of the term, except for the nodes that may serve without
// a lease: without those, a write would count as effective that is not.
func (t *Table) lose() {
	for t.waits != nil {
		t.waits.finish(Lost)
	}
	kept := t.nodes[:0]
	for _, m := range t.nodes {
		for _, r := range m.pending {
			r.wake()
		}
		if m.serves() {
			kept = append(kept, &member{Node: m.Node, suspect: true})
		}
	}
	clear(t.nodes[len(kept):])
	t.nodes = kept
	t.r = floor{lag: t.r.lag}
}

// Renew records a node's request for a lease, with the newest index that it has
// applied. now must be read after the request was received.
//
// stale means that this process may serve without a lease. It holds until the next
// start of the node. A process that has not served yet should pass false, so that
// writes do not count it while it catches up, and serve without a lease only after
// a renewal with true was granted.
//
// The caller must end the ticket with Grant or Drop.
func (t *Table) Renew(n Node, rep uint64, stale bool, now int64) (Ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.leading {
		return Ticket{}, ErrNotLeading
	}
	now = t.at(now)
	m, err := t.heard(n, rep, now)
	if err != nil {
		return Ticket{}, err
	}
	m.stale = m.stale || stale
	// The join gate: the slowest serving node determines the latency of every write.
	// A node that falls behind keeps the lease it holds, and gets the next one once
	// it has caught up.
	if gate := t.r.before(now); m.rep < gate {
		return Ticket{}, Behind{gate}
	}
	m.expire(now)
	if len(m.pending) >= MaxPending {
		return Ticket{}, ErrBusy
	}
	// From here on every write waits for this node too, and every earlier write is in
	// R_x. No write can fall in between, since both happen in one critical section.
	t.seq++
	r := &record{end: end{t.seq, now + t.expiry}, x: now, need: t.r.now, below: m.top}
	if m.rep < r.need {
		r.ready = make(chan struct{})
	}
	m.pending = append(m.pending, r)
	m.top = r.end
	return Ticket{Need: r.need, node: n, term: t.term, seq: r.seq}, nil
}

// Grant turns a renewal into a lease. It must be called after the commit of an
// entry of term that was proposed, or appended to this server's log, after Renew
// returned: the commit proves that this server led at some time after x, so that
// every later leader is elected after x. The entry need not be applied.
// If Grant returns false, the lease must not be sent; while only the report of Need
// is missing, Grant may be tried again.
func (t *Table) Grant(tk Ticket, term uint64, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.at(now)
	if !t.leading || term != t.term || tk.term != t.term {
		return false
	}
	m, r := t.find(tk)
	if r == nil || late(r, now) {
		return false
	}
	if m.rep < r.need {
		return false // writes up to R_x were answered without waiting for this node
	}
	m.until = max(m.until, r.at)
	m.remove(r)
	return true
}

// Ready returns a channel that is closed once Grant needs only the commit: the node
// has reported Need, or the ticket is void.
func (t *Table) Ready(tk Ticket) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, r := t.find(tk); r != nil && r.ready != nil {
		return r.ready
	}
	return closed
}

// Drop abandons a renewal: it is never granted, and writes stop waiting for it.
// Other renewals of the node, earlier or later, are not affected.
func (t *Table) Drop(tk Ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, r := t.find(tk); r != nil {
		m.drop(r)
	}
}

// Report records the index that a node has applied, its caches included. A higher
// boot ends the leases of earlier ones; a lower boot is ignored.
func (t *Table) Report(n Node, rep uint64, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leading {
		_, _ = t.heard(n, rep, t.at(now)) // a node without room holds nothing
	}
}

// Suspect records that a node may serve without a lease although this table has not
// heard it say so: a new leader must not call a write effective out of ignorance.
// The node is Unconfirmed for every write that it does not report, across terms,
// until Forget. Call Suspect before Begin, for every node that is configured to
// serve while isolated, and Forget for a node that no longer is.
//
// With such nodes, reports and renewals must carry the term in which they were
// sent, and those of another term must be dropped: a message that a dead process
// sent to an earlier leader would speak for its successor, whose state is unknown.
func (t *Table) Suspect(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.member(Node{ID: id}); m != nil {
		m.suspect = true
	}
}

// Forget records that a node was removed from the cluster. It drops no lease: the
// process may not know yet, and serves until its lease ends. Later writes no longer
// count it as a node that serves without a lease.
func (t *Table) Forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, found := t.search(id); found {
		t.nodes[i].stale, t.nodes[i].suspect = false, false
	}
}

// Status returns the state of all nodes, by ID.
func (t *Table) Status(now int64) []Holding {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.at(now)
	out := make([]Holding, 0, len(t.nodes))
	for _, m := range t.nodes {
		m.expire(now)
		h := Holding{Node: m.Node, Rep: m.rep, Pending: len(m.pending) > 0, Stale: m.serves(), LastSeen: m.seen}
		if m.until > now {
			h.Until = m.until
		} else {
			h.Ended = m.until
		}
		out = append(out, h)
	}
	return out
}

// Outstanding returns the number of waits in progress.
func (t *Table) Outstanding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// at keeps the table's time from going back, for callers read their clock before
// they get the lock. All read the same clock, so that the latest time is never
// ahead of it.
func (t *Table) at(now int64) int64 {
	t.now = max(t.now, now)
	return t.now
}

func (t *Table) search(id string) (int, bool) {
	return slices.BinarySearchFunc(t.nodes, id, func(m *member, id string) int { return strings.Compare(m.ID, id) })
}
