package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The kinds of operations.
const (
	opCreate  = "create"
	opEnable  = "enable"
	opDisable = "disable"
	opRotate  = "rotate" // of the old key, without overlap; of the new one it is a create
	opRevoke  = "revoke"
	opRead    = "read"
	opUse     = "use"
)

// The outcomes of operations. A write that has surely not happened, and a use or a
// read that shows nothing of the key, is in no history.
const (
	outOK      = "ok"
	outRefused = "refused" // a write that the key's being revoked forbids
	outUnknown = "unknown" // a write that may have happened, or may yet
)

// The states of a key.
const (
	stAbsent   = "absent"
	stActive   = "active"
	stDisabled = "disabled"
	stRevoked  = "revoked"
)

// forever is the return of an operation that never returned.
const forever = int64(1) << 62

// op is one operation of one client on one key.
type op struct {
	Client  int    `json:"client"`
	Kind    string `json:"kind"`
	Key     string `json:"key"` // its id
	Node    int    `json:"node"`
	Call    int64  `json:"call"`   // ns since the history began, one monotonic clock
	Return  int64  `json:"return"` // or forever
	Outcome string `json:"outcome"`
	State   string `json:"state"`           // the key's by the answer; of a rotation, the state that the new key took over
	Answer  string `json:"answer"`          // status and code, for the reader
	Final   bool   `json:"final,omitempty"` // made after the workload had ended
}

// history collects the answers to the clients of one run.
type history struct {
	nodes int
	began time.Time

	mu      sync.Mutex
	ops     []op
	away    []absence      // when nodes were out of contact
	dropped map[string]int // number of answers that show nothing, by their text
	strange []string       // answers that no correct cluster gives
}

func newHistory(nodes int) *history {
	return &history{nodes: nodes, began: time.Now(), dropped: map[string]int{}}
}

// absence is a time in which a node may have been out of contact with the
// leader though it still held a lease. A right that is given meanwhile may
// reach it late; one that is taken away may not: its answer waits.
type absence struct {
	node        int
	from, until int64
}

// leave notes that nodes are out of contact from now on.
func (h *history) leave(nodes ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range nodes {
		h.away = append(h.away, absence{i, h.now(), forever})
	}
}

// contact is how long a node may take, after a fault has ended, to hear of the
// leader again.
const contact = 3 * time.Second

// back notes that nothing is in the way of any node any more.
func (h *history) back() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.away {
		h.away[i].until = min(h.away[i].until, h.now()+int64(contact))
	}
}

// reach is the latest moment at which a right that o gives may reach node i.
func (h *history) reach(o *op, i int) int64 {
	last := o.Return
	for _, a := range h.away {
		if a.node == i && o.Return >= a.from && o.Call <= a.until {
			// No longer than the lease that the node had when it left.
			last = max(last, min(a.until, a.from+int64(leaseLength*105/100+500*time.Millisecond)))
		}
	}
	return last
}

// now is the history's clock.
func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

func (h *history) drop(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped[o.Kind+": "+o.Answer]++
}

// odd notes an answer that is wrong in any order of events.
func (h *history) odd(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.strange) < 20 {
		h.strange = append(h.strange, fmt.Sprintf("%s of %s on node %d at %v: %s", o.Kind, o.Key, o.Node+1, time.Duration(o.Call).Round(time.Millisecond), o.Answer))
	}
}

// rate is the number of operations a second that were answered from one moment
// to another.
func (h *history) rate(from, to int64) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, o := range h.ops {
		if o.Return >= from && o.Return < to {
			n++
		}
	}
	return float64(n) / time.Duration(to-from).Seconds()
}

// count is the number of writes, and of uses and reads, so far.
func (h *history) count() (writes, looks int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.ops {
		if o.Kind == opUse || o.Kind == opRead {
			looks++
		} else {
			writes++
		}
	}
	return writes, looks
}

// byKey returns the operations on each key, by time of call. It is for the time
// after the run.
func (h *history) byKey() (ids []string, ops map[string][]op) {
	ops = map[string][]op{}
	for _, o := range h.ops {
		if _, known := ops[o.Key]; !known {
			ids = append(ids, o.Key)
		}
		ops[o.Key] = append(ops[o.Key], o)
	}
	slices.Sort(ids)
	for _, list := range ops {
		slices.SortStableFunc(list, func(a, b op) int { return int(min(max(a.Call-b.Call, -1), 1)) })
	}
	return ids, ops
}

// summary counts for the log of a test.
func (h *history) summary() string {
	count, unknown := map[string]int{}, 0
	for _, o := range h.ops {
		count[o.Kind]++
		if o.Outcome == outUnknown {
			unknown++
		}
	}
	ids, _ := h.byKey()
	return fmt.Sprintf("%d operations on %d keys %v, %d unknown, without information %v", len(h.ops), len(ids), count, unknown, h.dropped)
}

// writeOps saves ops as JSON in dir and returns the file's path.
func writeOps(dir, name string, ops []op) (string, error) {
	raw, err := json.MarshalIndent(ops, "", " ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, raw, 0o600)
}
