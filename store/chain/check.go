package chain

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// checker checks the chains of one proof.
type checker struct {
	v       *Verifier
	rep     *Report
	keys    Keys
	signed  map[string]bool
	kept    map[name][]KeptHead
	seen    map[name]bool
	missing []Missing
	from    int64 // the export's beginning
}

// trust settles which keys count, and checks the kept heads.
func (c *checker) trust(p *Proof, t Trust) error {
	c.signed, c.from = make(map[string]bool), p.From
	for _, f := range t.Kept {
		for i := range f.Keys {
			if err := c.keys.Add(&f.Keys[i]); err != nil {
				return err
			}
		}
	}
	for i := range p.Keys {
		if k := &p.Keys[i]; t.Key == k.ID || t.Key == "" && len(t.Kept) == 0 {
			if err := c.keys.Add(k); err != nil {
				return err
			}
		}
	}
	if err := c.keys.Follow(p.Keys); err != nil {
		return err
	}
	for _, f := range t.Kept {
		for _, h := range f.Data {
			if err := c.keys.Check(&h.Head); err != nil {
				return fmt.Errorf("a kept head cannot be used: %w", err)
			}
			if h.State == nil || h.Path == nil {
				continue
			}
			if h.Path.Check(Account{f.Account, *h.State, h.Since}, h.Head.Root) != nil {
				return fmt.Errorf("a kept head cannot be used: the chain of %s is not the one that head %d of stream %s was signed over", f.Account, h.Head.Number, h.Head.Stream)
			}
			at := name{h.Head.Stream, f.Account}
			c.kept[at] = append(c.kept[at], h)
		}
	}
	return nil
}

// absent finds the kept heads whose chains are not in the export at all.
func (c *checker) absent() {
	for at, heads := range c.kept {
		if c.seen[at] || slices.ContainsFunc(c.missing, func(m Missing) bool { return m.Node == heads[0].Head.Node && m.Node != "" }) {
			continue
		}
		c.v.find(Finding{Kind: Cut, Stream: at.stream, Account: at.account, place: c.v.events,
			Text: fmt.Sprintf("a kept head counts %d events of node %s, and the export has none of them and no proof that they expired", heads[0].State.Events, heads[0].Head.Node)})
	}
}

// chain checks one chain; its first fault is found.
func (c *checker) chain(ch *Chain) {
	at := name{ch.Stream, ch.Account}
	if c.seen[at] {
		c.v.find(Finding{Kind: Unproven, Stream: at.stream, Account: at.account, place: c.v.events, Text: "the proof has two chains of one stream"})
		return
	}
	c.seen[at] = true
	rows := c.v.rows[at]
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.seq, b.seq) })
	w := walk{at: at, ch: ch, rows: rows, state: ch.From, kept: c.kept[at]}
	if ch.Head != nil && ch.Head.Stream == ch.Stream { // events of before are not chained
		w.rest = rowsUpTo(rows, ch.Head.Begin-min(ch.Head.Begin, 1))
	}
	old := w.rest
	if f := w.run(); f != nil {
		c.v.find(*f)
		return
	}
	c.rep.Compared += w.compared
	if f := c.head(&w); f != nil {
		c.v.find(*f)
		return
	}
	c.rep.Unchained += old
	c.rep.Proven += len(rows) - old
	c.rep.Chains = append(c.rep.Chains, Summary{Stream: ch.Stream, Node: ch.Node, Account: ch.Account, Before: ch.From.Events, Seq: w.state.Seq, Events: w.state.Events})
}

// head checks that the chain leads to its signed head.
func (c *checker) head(w *walk) *Finding {
	h := w.ch.Head
	var err error
	switch {
	case h == nil:
		err = errors.New("the node could not have its head signed: " + w.ch.Unsaved)
	case h.Stream != w.ch.Stream:
		err = errors.New("the head is that of another stream")
	default:
		err = c.keys.Check(h)
	}
	if err == nil && w.ch.Path.Check(Account{w.ch.Account, w.state, w.ch.Since}, h.Root) != nil {
		err = errors.New("the chain does not lead to the signed head: events were changed together with the proof, or are missing from here on")
	}
	if err == nil {
		c.signed[h.Key] = true
		if from := &w.ch.From; from.Events > 0 && from.Time >= max(w.ch.Since, c.from) {
			return w.fault(Dropped, w.first(), fmt.Sprintf("events before it, up to number %d, are missing and had not expired", from.Seq))
		}
		return nil
	}
	return w.fault(Unproven, w.first(), err.Error())
}

// walk goes along one chain.
type walk struct {
	at       name
	ch       *Chain
	rows     []row
	rest     int // rows before it are checked
	state    State
	kept     []KeptHead
	compared int
}

func (w *walk) run() *Finding {
	if f := w.compare(0); f != nil {
		return f
	}
	for i := range w.ch.Segments {
		g := &w.ch.Segments[i]
		if g.First <= w.state.Seq || g.Last < g.First || g.Count == 0 || g.Count > g.Last-g.First+1 {
			return w.fault(Unproven, w.next(), "the numbers of the proof are not in order")
		}
		if w.rest < len(w.rows) && w.rows[w.rest].seq < g.First {
			return w.fault(Added, w.next(), "the log has no event of this number")
		}
		from := w.rest
		w.rest = rowsUpTo(w.rows, g.Last)
		if f := w.segment(g, w.rows[from:w.rest]); f != nil {
			return f
		}
		w.state = w.state.Next(&g.Segment)
		if !bytes.Equal(g.Check, w.state.Link[:CheckSize]) {
			w.rest = from
			return w.fault(Dropped, w.next(), "the chain is broken here: events before it are missing or were changed together with the proof")
		}
		if f := w.compare(from); f != nil {
			return f
		}
	}
	if w.rest < len(w.rows) {
		return w.fault(Added, w.next(), "it is beyond the end that the head fixes")
	}
	return w.rewound()
}

// segment checks the events of a segment.
func (w *walk) segment(g *Shown, rows []row) *Finding {
	shown := g.shown()
	if shown == nil || g.MarksHash == nil && g.Count > 1 && uint64(len(g.Marks)) != g.Count*MarkSize {
		return w.faultAt(Unproven, rows, 0, errProof.Error())
	}
	var places []int
	for i, s := range shown {
		if s {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		if len(rows) > 0 {
			return w.faultAt(Added, rows, 0, "the proof says that it is not in the export")
		}
		return nil
	}
	if g.MarksHash != nil {
		return w.faultAt(Unproven, rows, 0, errProof.Error())
	}
	for j, i := range places {
		switch {
		case j == len(rows):
			return w.missing(rows, j)
		case marked(&g.Segment, i, rows[j].leaf):
		case len(rows) < len(places):
			return w.missing(rows, j)
		case len(rows) > len(places):
			return w.faultAt(Added, rows, j, "it was never written")
		default:
			return w.faultAt(Altered, rows, j, "it is not the event that was written")
		}
	}
	if len(rows) > len(places) {
		return w.faultAt(Added, rows, len(places), "it was never written")
	}
	leaves := make([]Hash, len(rows))
	for j := range rows {
		leaves[j] = rows[j].leaf
	}
	root, err := unhide(shown, leaves, g.Hidden)
	if err != nil || root != g.Root {
		return w.faultAt(Altered, rows, 0, "it or one of the "+fmt.Sprint(len(rows)-1)+" events after it was changed together with the proof")
	}
	return nil
}

// missing is the finding of events that are missing before rows[j].
func (w *walk) missing(rows []row, j int) *Finding {
	at := w.rest - len(rows) + j
	f := w.fault(Dropped, nil, "")
	switch {
	case at > 0:
		before := w.rows[at-1]
		f.ID, f.Seq, f.place = before.id, before.seq, before.place
		f.Text = fmt.Sprintf("an event that followed %s (number %d) is missing", before.id, before.seq)
	case at < len(w.rows):
		after := w.rows[at]
		f.ID, f.Seq, f.place = after.id, after.seq, after.place
		f.Text = fmt.Sprintf("an event before %s (number %d) is missing", after.id, after.seq)
	default:
		f.Text = "all events of the account are missing"
	}
	return f
}

// compare compares the state with the kept heads that end here; rows from from on are of
// the segment before it.
func (w *walk) compare(from int) *Finding {
	for i := range w.kept {
		switch k := w.kept[i].State; {
		case k.Seq != w.state.Seq:
		case *k != w.state:
			return w.differs(&w.kept[i], from)
		default:
			w.compared++
		}
	}
	return nil
}

// rewound finds the kept heads that the chain passes without meeting them, or does not
// reach.
func (w *walk) rewound() *Finding {
	ends := map[uint64]bool{w.ch.From.Seq: true}
	for i := range w.ch.Segments {
		ends[w.ch.Segments[i].Last] = true
	}
	for i := range w.kept {
		k := &w.kept[i]
		switch {
		case k.State.Seq < w.ch.From.Seq || ends[k.State.Seq]:
		case k.State.Seq < w.state.Seq:
			return w.differs(k, rowsUpTo(w.rows, k.State.Seq))
		default:
			f := w.fault(Rewound, nil, "")
			if n := len(w.rows); n > 0 {
				f.ID, f.Seq, f.place = w.rows[n-1].id, w.rows[n-1].seq, w.rows[n-1].place
			}
			f.Text = fmt.Sprintf("the log ends with event number %d, and the head of %s knew %d: the events between were cut or rolled back, or the export is older than the head",
				w.state.Seq, k.Head.Time.Format(TimeFormat), k.State.Seq)
			return f
		}
	}
	return nil
}

func (w *walk) differs(k *KeptHead, from int) *Finding {
	var r *row
	if from < len(w.rows) {
		r = &w.rows[from]
	} else if len(w.rows) > 0 {
		r = &w.rows[len(w.rows)-1]
	}
	return w.fault(Rewound, r, fmt.Sprintf("the log differs from the head of %s, which was kept elsewhere: an event up to number %d was changed or removed and the log signed again",
		k.Head.Time.Format(TimeFormat), k.State.Seq))
}

// next is the first row that is not checked; nil if there is none.
func (w *walk) next() *row {
	if w.rest < len(w.rows) {
		return &w.rows[w.rest]
	}
	return nil
}

// first is the first row of the chain.
func (w *walk) first() *row {
	if len(w.rows) > 0 {
		return &w.rows[0]
	}
	return nil
}

func (w *walk) faultAt(kind Kind, rows []row, j int, text string) *Finding {
	if j < len(rows) {
		return w.fault(kind, &rows[j], text)
	}
	return w.fault(kind, nil, text)
}

func (w *walk) fault(kind Kind, r *row, text string) *Finding {
	f := &Finding{Kind: kind, Stream: w.at.stream, Account: w.at.account, Text: text, place: w.wholeFile()}
	if r != nil {
		f.ID, f.Seq, f.place = r.id, r.seq, r.place
	}
	return f
}

// wholeFile is a place after all events.
func (w *walk) wholeFile() int { return len(w.rows) + 1<<40 }
