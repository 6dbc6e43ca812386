package cluster

import (
	"sync"
	"time"

	"github.com/perfgate/perfgate/node/lease"
)

// selfReport is the report of a node about itself, sent with each renewal.
type selfReport struct {
	ID      string    `json:"id"`
	Boot    uint64    `json:"boot"`
	Term    uint64    `json:"term"` // in which it was sent; one of another term is not for this leader
	Applied uint64    `json:"applied"`
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Region  string    `json:"region,omitzero"`
	Version string    `json:"version,omitzero"`
	Level   int       `json:"level"`
	Stale   bool      `json:"stale,omitzero"`  // it is configured to serve on without a lease
	Served  bool      `json:"served,omitzero"` // it has held one
	State   string    `json:"state"`
	Lease   int64     `json:"lease"`           // cluster.lease as configured here, in nanoseconds
	Full    bool      `json:"full,omitzero"`   // its disk is
	Rotten  bool      `json:"rotten,omitzero"` // its state has a damaged file
	Wall    time.Time `json:"wall"`
	Print   *imprint  `json:"print,omitzero"` // of what it has applied; nil in a cluster without

	seen     int64  // when the leader heard it, by its clock
	differed uint64 // the first index at which the leader found another state there, 0 if it found none
}

// renewed is the answer to a renewal that was granted.
type renewed struct {
	Wall time.Time `json:"wall"` // the leader's
	// Stale says that every later leader knows, too, that the node serves on without
	// a lease.
	Stale bool `json:"stale,omitzero"`
	// The median of the members' wall clocks: the two in the middle, or one twice.
	ClockLow  time.Time `json:"clock_low,omitzero"`
	ClockHigh time.Time `json:"clock_high,omitzero"`
}

// reports are the nodes' reports to the leader in its term.
type reports struct {
	mu    sync.Mutex
	nodes map[string]*selfReport
}

func (t *reports) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.nodes)
}

func (t *reports) put(f *selfReport, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.seen = now
	if old := t.nodes[f.ID]; old != nil && old.Boot == f.Boot {
		f.differed = old.differed
	}
	if len(t.nodes) < lease.MaxNodes || t.nodes[f.ID] != nil {
		t.nodes[f.ID] = f
	}
}

// differs returns the first index at which the state of the node of f was another one, 0 if
// it never was. now says that it is now.
func (t *reports) differs(f *selfReport, now bool) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now && f.differed == 0 {
		f.differed = f.Print.Index
	}
	return f.differed
}

func (t *reports) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.nodes, id)
}

func (t *reports) of(id string) (selfReport, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.nodes[id]; f != nil {
		return *f, true
	}
	return selfReport{}, false
}
