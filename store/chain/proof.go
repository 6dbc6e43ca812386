package chain

import "time"

// Version is that of the form of proofs.
const Version = 1

// Proof is the end of an export. Its chains are those of the account in each stream.
type Proof struct {
	Version int               `json:"version"`
	Time    time.Time         `json:"time"`
	Account string            `json:"account"`
	Order   string            `json:"order"` // of the events: "asc" or "desc"
	Query   map[string]string `json:"query"` // the filters of the export
	From    int64             `json:"from"`  // the export's beginning, Unix milliseconds; 0 is that of the log
	Keys    []Key             `json:"keys"`
	Missing []Missing         `json:"missing"` // nodes whose events are not in the export
	Chains  []Chain           `json:"chains"`
}

// Missing is a node that could not be asked.
type Missing struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// Chain proves one account's events of one stream.
type Chain struct {
	Stream  string `json:"stream"`
	Node    string `json:"node,omitzero"` // the name of the node; none for changes
	Account string `json:"account"`
	Head    *Head  `json:"head"`            // null where it could not be signed
	Unsaved string `json:"reason,omitzero"` // the reason why
	Path    Path   `json:"path"`
	Since   int64  `json:"since"` // see [Account.Since]
	From    State  `json:"from"`  // before the first segment
	// Segments are all from the first of the export up to the head.
	Segments []Shown `json:"segments"`
}

// Shown is a segment and the events of it that the export holds.
type Shown struct {
	Segment
	// Runs are the lengths of the runs of events that are hidden and shown, by turns,
	// hidden first; nil says that all are shown.
	Runs   []int  `json:"runs,omitzero"`
	Hidden []Hash `json:"hidden,omitzero"` // see [Hide]; none where all are hidden: Root says it
	Check  []byte `json:"check"`           // the first bytes of the link after it, to find the place of a fault
}

// CheckSize is the number of bytes of [Shown.Check].
const CheckSize = 4

// maxSegment bounds the events of a segment that a proof may state: a node seals
// earlier.
const maxSegment = 1 << 24

// Show returns the segment with the events that shown selects; leaves are those of all
// its events, and are needed only where some are hidden and some shown. after is the
// state after it.
func Show(g Segment, after State, shown []bool, leaves []Hash) Shown {
	out := Shown{Segment: g, Check: after.Check()}
	some, all := false, true
	for _, s := range shown {
		some, all = some || s, all && s
	}
	switch {
	case all && len(shown) > 0:
		return out
	case !some:
		return Conceal(g, after)
	}
	out.Hidden = Hide(leaves, shown)
	state, n := false, 0
	for _, s := range shown {
		if s != state {
			out.Runs = append(out.Runs, n)
			state, n = s, 0
		}
		n++
	}
	out.Runs = append(out.Runs, n)
	return out
}

// Check is the value of [Shown.Check] for a segment that s follows.
func (s State) Check() []byte { return append([]byte(nil), s.Link[:CheckSize]...) }

// Conceal returns the segment without any of its events.
func Conceal(g Segment, after State) Shown {
	h := g.marksHash()
	g.Marks, g.MarksHash = nil, &h
	return Shown{Segment: g, Runs: []int{int(g.Count)}, Check: after.Check()}
}

// shown is which events are shown; nil if the runs do not fit the count.
func (s *Shown) shown() []bool {
	if s.Count == 0 || s.Count > maxSegment {
		return nil
	}
	out := make([]bool, 0, min(s.Count, 1<<16))
	if s.Runs == nil {
		for range s.Count {
			out = append(out, true)
		}
		return out
	}
	state := false
	for _, n := range s.Runs {
		if n < 0 || uint64(len(out)+n) > s.Count {
			return nil
		}
		for range n {
			out = append(out, state)
		}
		state = !state
	}
	if uint64(len(out)) != s.Count {
		return nil
	}
	return out
}

// HeadFile is the answer of GET /v1/audit-logs/head: for each stream the head and the
// account's place in it, and the keys. Kept elsewhere, it finds what a rewritten log
// hides.
type HeadFile struct {
	Account string     `json:"account"`
	Data    []KeptHead `json:"data"`
	Keys    []Key      `json:"keys"`
	Missing []Missing  `json:"missing"`
}

// KeptHead is a stream's head and the account's chain in it. State and Path are null
// where the account has no event in the stream.
type KeptHead struct {
	Head  Head   `json:"head"`
	State *State `json:"state"`
	Since int64  `json:"since"`
	Path  *Path  `json:"path"`
}

// Part is a piece of a proof that is streamed: a chain without its segments, or the next
// segment of the chain before it.
type Part struct {
	Chain *Chain `json:"chain,omitzero"`
	Shown *Shown `json:"segment,omitzero"`
}
