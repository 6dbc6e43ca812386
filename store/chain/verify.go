package chain

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Kind is the kind of a finding.
type Kind string

// The kinds of findings.
const (
	Altered  Kind = "altered"  // an event differs from the one that was written
	Dropped  Kind = "dropped"  // an event is missing
	Added    Kind = "added"    // an event was never written
	Swapped  Kind = "swapped"  // an event is not in its place
	Cut      Kind = "cut"      // the end is missing
	Rewound  Kind = "rewound"  // the log differs from a head that was kept
	Unproven Kind = "unproven" // nothing says whether the events are whole
)

// Finding is the first fault of a chain. ID is the first bad event, or the last good
// one before events that are missing.
type Finding struct {
	Kind    Kind   `json:"kind"`
	ID      string `json:"id,omitzero"`
	Seq     uint64 `json:"seq,omitzero"` // of ID; 0 if no event can be named
	Stream  string `json:"stream,omitzero"`
	Account string `json:"account,omitzero"`
	Text    string `json:"text"`

	place int // in the file, for the order
}

// Report is the result of a verification. The export is whole if there are no findings.
type Report struct {
	Events    int       `json:"events"`    // in the file
	Proven    int       `json:"proven"`    // by a signed head
	Unchained int       `json:"unchained"` // written before the stream was chained
	Keys      []string  `json:"keys"`      // that signed the heads
	Compared  int       `json:"compared"`  // kept heads that were found again
	Missing   []Missing `json:"missing"`
	Chains    []Summary `json:"chains"`
	Findings  []Finding `json:"findings"` // the first bad event first
}

// Summary describes a verified chain: the gap at its beginning and its end.
type Summary struct {
	Stream  string `json:"stream"`
	Node    string `json:"node,omitzero"`
	Account string `json:"account"`
	Before  uint64 `json:"before"` // events before the export's beginning: expired, or not asked for
	Seq     uint64 `json:"seq"`    // of the last event that the head fixes
	Events  uint64 `json:"events"` // of the account up to it
}

// name is a chain's stream and account.
type name struct{ stream, account string }

// row is one event of the export.
type row struct {
	seq   uint64
	leaf  Hash
	id    string
	place int
}

// Verifier takes the events of an export in its order, then its proof. It holds about
// 100 bytes of each event.
type Verifier struct {
	enc    *Encoder
	rows   map[name][]row
	events int
	found  []Finding

	last        [2]string // time and id of the event before
	ascending   *Finding  // the first event that breaks this order
	descending  *Finding
	newest      bool         // the last event of the file is the first
	unhashed    map[name]int // events without a hash
	accountText map[string]string
}

// NewVerifier returns a verifier without events.
func NewVerifier() *Verifier {
	return &Verifier{enc: NewEncoder(), rows: make(map[name][]row), unhashed: make(map[name]int), accountText: make(map[string]string)}
}

// Add takes the next event; hash is the one that it states in hexadecimal.
func (v *Verifier) Add(r *Record, hash string) {
	place := v.events
	v.events++
	at := v.name(r)
	seq, err := strconv.ParseUint(r[colSeq], 10, 64)
	if err != nil {
		v.find(Finding{Kind: Altered, ID: r[colID], Stream: at.stream, Account: at.account, place: place, Text: "its number is none"})
	}
	v.order(r, at, seq, place)
	leaf := r.Leaf(v.enc)
	switch hash {
	case "":
		v.unhashed[at]++
	case leaf.Hex():
	default:
		v.find(Finding{Kind: Altered, ID: r[colID], Seq: seq, Stream: at.stream, Account: at.account, place: place,
			Text: "it does not have the hash that it states: it was changed after it was written"})
	}
	v.rows[at] = append(v.rows[at], row{seq, leaf, r[colID], place})
}

// name is the chain of an event. The texts of accounts are shared.
func (v *Verifier) name(r *Record) name {
	account, ok := v.accountText[r[colAccount]]
	if !ok {
		account = r[colAccount]
		v.accountText[account] = account
	}
	return name{StreamOf(r[colID]), account}
}

// order notes the first events that are out of either order. Of two that were swapped,
// the first stands before one that should precede it.
func (v *Verifier) order(r *Record, at name, seq uint64, place int) {
	now := [2]string{r[colTime], r[colID]}
	if place > 0 {
		c := cmp.Or(cmp.Compare(v.last[0], now[0]), cmp.Compare(v.last[1], now[1]))
		f := &Finding{Kind: Swapped, ID: v.last[1], Stream: at.stream, Account: at.account, place: place - 1,
			Text: "it stands before " + r[colID] + ", which does not follow it"}
		if c >= 0 && v.ascending == nil {
			v.ascending = f
		}
		if c <= 0 && v.descending == nil {
			v.descending = f
		}
	}
	v.last = now
}

func (v *Verifier) find(f Finding) { v.found = append(v.found, f) }

// Trust says whose heads count: the keys of heads that were kept elsewhere, or one key
// by its id. Without both, the export's own keys do, and prove only that it fits
// itself.
type Trust struct {
	Kept []HeadFile
	Key  string
}

// Verify ends the export: it checks the events against p; nil if the file has none.
func (v *Verifier) Verify(p *Proof, t Trust) *Report {
	rep := &Report{Events: v.events, Keys: []string{}, Missing: []Missing{}, Chains: []Summary{}}
	if p == nil {
		v.find(Finding{Kind: Cut, ID: v.last[1], place: v.events, Text: "the export ends without its proof: it was cut, or is a page of a list"})
		return v.finish(rep)
	}
	if p.Version != Version {
		v.find(Finding{Kind: Unproven, place: v.events, Text: fmt.Sprintf("the proof has version %d, this program knows %d: use a newer one", p.Version, Version)})
		return v.finish(rep)
	}
	v.newest = p.Order == "desc"
	if f := v.ordered(p.Order); f != nil {
		v.find(*f)
	}
	rep.Missing = append(rep.Missing, p.Missing...)
	c := checker{v: v, rep: rep, keys: Keys{}, kept: make(map[name][]KeptHead), seen: make(map[name]bool), missing: p.Missing}
	if err := c.trust(p, t); err != nil {
		v.find(Finding{Kind: Unproven, place: v.events, Text: err.Error()})
		return v.finish(rep)
	}
	for i := range p.Chains {
		c.chain(&p.Chains[i])
	}
	c.absent()
	for at, rows := range v.rows {
		if !c.seen[at] && len(rows) > 0 {
			r := slices.MinFunc(rows, func(a, b row) int { return cmp.Compare(a.seq, b.seq) })
			v.find(Finding{Kind: Unproven, ID: r.id, Seq: r.seq, Stream: at.stream, Account: at.account, place: r.place, Text: "the proof does not name its stream"})
		}
	}
	rep.Keys = slices.Sorted(maps.Keys(c.signed))
	return v.finish(rep)
}

func (v *Verifier) ordered(order string) *Finding {
	switch order {
	case "asc":
		return v.ascending
	case "desc":
		return v.descending
	}
	return &Finding{Kind: Unproven, place: v.events, Text: "the proof does not state the order of the events"}
}

// finish sorts the findings by the times of their events, and keeps one of each.
func (v *Verifier) finish(rep *Report) *Report {
	if v.newest {
		for i := range v.found {
			if f := &v.found[i]; f.place < v.events {
				f.place = v.events - 1 - f.place
			}
		}
	}
	slices.SortStableFunc(v.found, func(a, b Finding) int { return cmp.Compare(a.place, b.place) })
	rep.Findings = slices.CompactFunc(v.found, func(a, b Finding) bool { return a.ID == b.ID && a.Seq == b.Seq && a.ID != "" })
	if rep.Findings == nil {
		rep.Findings = []Finding{}
	}
	return rep
}

// rowsUpTo is how many rows, which are sorted, have numbers up to last.
func rowsUpTo(rows []row, last uint64) int {
	n, _ := slices.BinarySearchFunc(rows, last, func(r row, last uint64) int {
		if r.seq <= last {
			return -1
		}
		return 1
	})
	return n
}

// marked reports whether the mark at position i is that of a leaf.
func marked(g *Segment, i int, leaf Hash) bool {
	if g.Count == 1 {
		return leaf == g.Root
	}
	return bytes.Equal(g.Marks[i*MarkSize:(i+1)*MarkSize], leaf[:MarkSize])
}

// Broken ends an export that cannot be read to its end, because of err.
func (v *Verifier) Broken(err error) *Report {
	rep := &Report{Events: v.events, Keys: []string{}, Missing: []Missing{}, Chains: []Summary{}}
	v.find(Finding{Kind: Altered, ID: v.last[1], place: v.events, Text: "the export cannot be read after this event: " + err.Error()})
	return v.finish(rep)
}
