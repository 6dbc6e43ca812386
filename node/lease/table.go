package lease

import (
	"slices"
	"strings"
	"sync"
)

// Table is the leader's: who holds a lease or may be about to, and what each
// node has applied. It is in memory and belongs to one term. Safe for concurrent
// use; one mutex guards it and its waits, and every method is one critical section.
type Table struct {
	cfg    Config
	expiry int64 // D(1+ε)

	mu        sync.Mutex
	now       int64 // the latest that any caller saw
	leading   bool
	term      uint64
	electedAt int64
	r         floor
	seq       uint64    // of tickets, never reused
	nodes     []*member // by ID
	waits     *Wait     // every one under way, doubly linked
	waiting   int
}

// member is one node as the leader knows it in this term.
type member struct {
	Node
	rep  uint64 // newest applied index it reported
	seen int64
	// Both say that it may serve without a lease: this process said so, or some
	// process of the node was said to, outside this term. Late messages of a dead
	// process may be the first to be heard in a term, so only Forget ends suspicion.
	stale, suspect bool

	// What the node can hold: until is granted, pending may be. top is the newest
	// of both that was not dropped. x never goes back, so a later record ends no
	// earlier, and top alone says when the node's last possible lease ends.
	until   int64
	pending []*record
	top     end

	queue queue // waits that this node has not cleared
}

// end is when one record's lease is over, by the leader's clock. The zero end
// is that of no record.
type end struct {
	seq uint64
	at  int64
}

// record is a renewal between steps 3 and 4.
type record struct {
	end
	x     int64
	need  uint64
	below end           // what the node holds if this record is dropped
	ready chan struct{} // closed when Grant can tell; nil if it could from the start
}

func (r *record) wake() {
	if r.ready != nil {
		close(r.ready)
		r.ready = nil
	}
}

// NewTable returns a table that leads in no term.
func NewTable(c Config) *Table {
	if c.Duration <= 0 || c.Drift < 0 || c.JoinLag < 0 {
		panic("BUG: lease: a duration, drift or lag that is not one")
	}
	return &Table{cfg: c, expiry: c.expiry(), r: floor{lag: int64(c.JoinLag)}}
}

// Begin says that this server leads in term, the term of its own first entry,
// and that its barrier of that term was applied, so that applied covers all that
// earlier terms committed. The state of another term is thrown away, of this
// server's own as well: others led in between, and granted. A call with the term
// that is led only raises R. One with an earlier term comes late and is ignored.
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

// End says that leadership is lost: nothing is granted and no wait completes
// until the next Begin. It may come late or never; Begin does not rely on it.
func (t *Table) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lose()
	t.leading = false
}

// lose throws the term's state away. What stays is who serves without a lease:
// forgetting that would call a write effective that is not.
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

// Renew is a node's request for a lease, with the newest index it has applied.
// now was read after the request was received.
//
// stale says that this process serves on without a lease. Once said it counts
// until the node's next start. A process that has not served yet should say
// false, so that writes do not count it while it catches up, and serve without a
// lease only after a renewal that said true was granted.
//
// The caller must answer the ticket with Grant or Drop.
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
	// The join gate: the slowest node that serves is every write's latency. A node
	// that falls behind keeps what it holds, and comes back when it has caught up.
	if gate := t.r.before(now); m.rep < gate {
		return Ticket{}, Behind{gate}
	}
	m.expire(now)
	if len(m.pending) >= MaxPending {
		return Ticket{}, ErrBusy
	}
	// From here on every write waits for this node too, and every write before is
	// in R_x: no write can fall between, since both are in this critical section.
	t.seq++
	r := &record{end: end{t.seq, now + t.expiry}, x: now, need: t.r.now, below: m.top}
	if m.rep < r.need {
		r.ready = make(chan struct{})
	}
	m.pending = append(m.pending, r)
	m.top = r.end
	return Ticket{Need: r.need, node: n, term: t.term, seq: r.seq}, nil
}

// Grant turns a renewal into a lease, after a commit of term that was proposed
// after Renew had returned: it proves that this server led at some time after x,
// so every later leader is elected after x. If it refuses, the lease must not be
// sent; while only the report of Need is missing, Grant may be tried again.
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
		return false // writes up to R_x have been answered without waiting for this node
	}
	m.until = max(m.until, r.at)
	m.remove(r)
	return true
}

// Ready is closed when Grant has nothing to wait for but the commit: the node has
// reported Need, or the ticket is void.
func (t *Table) Ready(tk Ticket) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, r := t.find(tk); r != nil && r.ready != nil {
		return r.ready
	}
	return closed
}

// Drop gives a renewal up: it is never granted, and writes stop waiting for it.
// Only its own record goes; others of the node, before or after it, stand.
func (t *Table) Drop(tk Ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, r := t.find(tk); r != nil {
		m.drop(r)
	}
}

// Report notes what a node has applied, its caches included. A higher boot ends
// what earlier ones hold; a lower one is ignored.
func (t *Table) Report(n Node, rep uint64, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leading {
		_, _ = t.heard(n, rep, t.at(now)) // one that finds no room holds nothing
	}
}

// Suspect says that a node may serve without a lease though this table has not
// heard so: a new leader's must not call a write effective for not knowing. The
// node is Unconfirmed for every write that it does not report, until it is
// forgotten, over terms too. Call it before Begin, for every node that is set to
// serve when isolated, and Forget for one that no longer is.
//
// Where there are such nodes, reports and renewals must say in which term they
// were sent, and those of another term be dropped: one that a dead process sent
// to an earlier leader would speak for its successor, of which nothing is known.
func (t *Table) Suspect(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.member(Node{ID: id}); m != nil {
		m.suspect = true
	}
}

// Forget says that a node was removed from the cluster. That drops no lease: the
// process may not know yet, and serves until its lease is over. Later writes no
// longer count it as one that serves without.
func (t *Table) Forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, found := t.search(id); found {
		t.nodes[i].stale, t.nodes[i].suspect = false, false
	}
}

// Status lists what is known, by ID.
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
		}
		out = append(out, h)
	}
	return out
}

// Outstanding is how many waits are under way.
func (t *Table) Outstanding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// at keeps the table's time from going back: a caller reads its clock before it
// gets the lock. All readings are of one clock, so the latest is never ahead.
func (t *Table) at(now int64) int64 {
	t.now = max(t.now, now)
	return t.now
}

func (t *Table) search(id string) (int, bool) {
	return slices.BinarySearchFunc(t.nodes, id, func(m *member, id string) int { return strings.Compare(m.ID, id) })
}
