package cluster

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxNodes bounds a cluster in the model, so that its state can be compared.
const maxNodes = 5

// A write is several steps of the model, all of them between its call and its
// answer: it enters the log (commit), and each node takes it over (apply), in
// the log's order. Were it one step, a use that is refused on a fast node and
// admitted later on a slow one, while the write is unanswered, would be called a
// fault; it is none, for the write has not been answered yet.
const (
	stepCommit = "commit"
	stepApply  = "apply"
	stepSee    = "see" // a use or a read
)

// step is the input of one step.
type step struct {
	what  string
	write int // which write, for commit and apply
	node  int // which node, for apply and see
	op    *op
}

// entry is a write in the log that some node has not taken over yet.
type entry struct {
	write int
	state string
}

// world is the state of the model: one key, seen by all nodes.
type world struct {
	base string // the state before the log's first entry
	log  []entry
	pos  [maxNodes]int // how many entries each node has taken over
}

// head is the newest state, which a linearizable read sees.
func (w *world) head() string {
	if n := len(w.log); n > 0 {
		return w.log[n-1].state
	}
	return w.base
}

// at is the state on node i.
func (w *world) at(i int) string {
	if w.pos[i] > 0 {
		return w.log[w.pos[i]-1].state
	}
	return w.base
}

func (w world) commit(write int, state string) world {
	w.log = append(slices.Clip(w.log), entry{write, state})
	return w
}

// apply moves node i of n on by one entry and forgets the entries that all have passed.
func (w world) apply(i, n int) world {
	w.pos[i]++
	if first := slices.Min(w.pos[:n]); first > 0 {
		w.base = w.log[first-1].state
		w.log = w.log[first:]
		for j := range n {
			w.pos[j] -= first
		}
	}
	return w
}

// after is the state that a write of this kind leaves; ok is whether the key's
// state allows it.
func after(kind, state, created string) (next string, ok bool) {
	switch kind {
	case opCreate:
		if state == stAbsent {
			return created, true
		}
	case opEnable, opDisable:
		if state == stActive || state == stDisabled {
			return map[string]string{opEnable: stActive, opDisable: stDisabled}[kind], true
		}
	case opRotate:
		if state == stActive || state == stDisabled {
			return stRevoked, true
		}
	case opRevoke:
		if state != stAbsent {
			return stRevoked, true
		}
	}
	return state, false
}

// step makes one step in a cluster of n nodes; ok is whether the state allows it.
func (w world) step(s step, n int) (ok bool, next world) {
	switch s.what {
	case stepApply:
		p := w.pos[s.node]
		if p >= len(w.log) || w.log[p].write != s.write {
			return false, w
		}
		return true, w.apply(s.node, n)
	case stepSee:
		if s.op.Kind == opRead {
			return s.op.State == w.head(), w
		}
		return s.op.State == w.at(s.node), w
	}
	head := w.head()
	state, ok := after(s.op.Kind, head, s.op.State)
	switch s.op.Outcome {
	case outUnknown: // refused or not, it is not known
		return true, w.commit(s.write, state)
	case outRefused:
		// The rotation of a disabled key is refused, unless the key was disabled after the call looked at it.
		return head == stRevoked && !ok || s.op.Kind == opRotate && head == stDisabled, w
	}
	if s.op.Kind == opRotate && s.op.State != head {
		return false, w // the new key took over a state that the old one did not have
	}
	return ok, w.commit(s.write, state)
}

// model is the promise for a cluster of n nodes, for the operations on one key.
func model(n int) porcupine.Model {
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init: func() any { return world{base: stAbsent} },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := state.(world).step(input.(step), n)
			return ok, next
		},
		Equal: func(a, b any) bool {
			x, y := a.(world), b.(world)
			return x.base == y.base && x.pos == y.pos && slices.Equal(x.log, y.log)
		},
		Hash: func(state any) uint64 {
			w := state.(world)
			var h maphash.Hash
			h.SetSeed(seed)
			h.WriteString(w.base)
			for _, e := range w.log {
				maphash.WriteComparable(&h, e)
			}
			maphash.WriteComparable(&h, w.pos)
			return h.Sum64()
		},
		DescribeOperation: func(input, _ any) string {
			s := input.(step)
			switch s.what {
			case stepApply:
				return fmt.Sprintf("%s@n%d", s.op.Kind, s.node+1)
			case stepSee:
				return fmt.Sprintf("%s@n%d → %s", s.op.Kind, s.node+1, s.op.State)
			}
			return fmt.Sprintf("%s via n%d → %s (%s)", s.op.Kind, s.op.Node+1, s.op.Outcome, s.op.Answer)
		},
		DescribeState: func(state any) string {
			w := state.(world)
			var nodes []string
			for i := range n {
				nodes = append(nodes, w.at(i))
			}
			return fmt.Sprintf("log %s, nodes %v", w.head(), nodes)
		},
	}
}

// steps turns h's operations on one key into those of the model. With grace
// a write that gives a right may reach each node that long after its answer. perfgate
// promises no grace: it only shows how far a history is from a legal one.
func steps(h *history, ops []op, grace time.Duration) []porcupine.Operation {
	var out []porcupine.Operation
	add := func(o *op, s step, end int64) {
		s.op = o
		row := o.Client * (h.nodes + 1) // the steps of one write overlap: a row each in the picture
		if s.what == stepApply {
			row += 1 + s.node
		}
		out = append(out, porcupine.Operation{ClientId: row, Input: s, Call: o.Call, Return: end})
	}
	for i := range ops {
		o := &ops[i]
		if o.Kind == opUse || o.Kind == opRead {
			add(o, step{what: stepSee, node: o.Node}, o.Return)
			continue
		}
		add(o, step{what: stepCommit, write: i}, o.Return)
		if o.Outcome == outRefused {
			continue
		}
		for node := range h.nodes {
			end := o.Return
			if o.Kind == opCreate || o.Kind == opEnable {
				end = h.reach(o, node) + int64(grace)
			}
			add(o, step{what: stepApply, write: i, node: node}, end)
		}
	}
	return out
}
