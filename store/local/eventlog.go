package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// EventLog is this node's events at one moment, all of them sealed, with their proof. It
// keeps the events from being removed on disk until Close, which Local's own Close waits
// for. It is for one goroutine.
type EventLog struct {
	// Streams are the one of requests and refusals without an account, and the one of accounts'
	// refusals.
	Streams []*Sealed

	l    *Local
	snap *pebble.Snapshot
}

// OpenEventLog seals all events that were observed before the call, and begins to read
// there. They are on disk when it returns, so that a signed head never knows more than
// the disk.
func (l *Local) OpenEventLog() (*EventLog, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	log := &EventLog{l: l}
	if err := l.ask(turn{sync: true, seal: log, done: make(chan error, 1)}); err != nil {
		l.leave()
		return nil, fmt.Errorf("seal audit events: %w", err)
	}
	return log, nil
}

// Close ends the reading.
func (g *EventLog) Close() error {
	defer g.l.leave()
	return g.snap.Close()
}

// Events streams the events that q selects; see [Local.Events].
func (g *EventLog) Events(q store.EventQuery) iter.Seq2[*store.Event, error] {
	return func(yield func(*store.Event, error) bool) {
		if err := g.l.read(g.snap, q, yield); err != nil && !errors.Is(err, errStopped) {
			yield(nil, fmt.Errorf("read audit events: %w", err))
		}
	}
}

// Account is the chain of an account's log; false if it has none.
func (s *Sealed) Account(account store.AccountID) (chain.Account, bool) {
	for i := range s.Accounts {
		if s.Accounts[i].Account == string(account.OfEvents()) {
			return s.Accounts[i], true
		}
	}
	return chain.Account{}, false
}

// Proof streams the proof of what Events yields for q: for each account a chain in each
// stream, which leads to the stream's head, and its segments. Heads are those of Streams.
func (g *EventLog) Proof(q store.EventQuery, heads []*chain.Head) iter.Seq2[chain.Part, error] {
	return func(yield func(chain.Part, error) bool) {
		for i, s := range g.Streams {
			var head *chain.Head
			if i < len(heads) {
				head = heads[i]
			}
			if err := g.proveStream(q, s, i > 0, head, yield); err != nil {
				if !errors.Is(err, errStopped) {
					yield(chain.Part{}, fmt.Errorf("prove audit events: %w", err))
				}
				return
			}
		}
	}
}

func (g *EventLog) proveStream(q store.EventQuery, s *Sealed, refused bool, head *chain.Head, yield func(chain.Part, error) bool) error {
	owners := ownersOf(&q)
	for i := range s.Accounts {
		a := &s.Accounts[i]
		of := ownerOf(store.AccountID(a.Account), refused)
		if owners != nil && !slices.Contains(owners, of) {
			continue
		}
		path, err := chain.PathTo(s.Accounts, a.Account)
		if err != nil {
			return err
		}
		p := prover{EventLog: g, q: q, account: of, end: a.State, yield: yield}
		p.q.Account, p.q.WithOperators = "", false
		p.chain = chain.Chain{Stream: s.Stream, Account: a.Account, Head: head, Path: path, Since: a.Since, Segments: []chain.Shown{}}
		if err := p.run(); err != nil {
			return err
		}
	}
	return nil
}

// prover proves the events of one account.
type prover struct {
	*EventLog
	q       store.EventQuery
	account owner
	chain   chain.Chain
	end     chain.State // of the chain
	yield   func(chain.Part, error) bool

	reader *reader
	events *pebble.Iterator
	held   *chain.Shown // the next segment, until the state after it is known as the disk has it
	begun  bool
}

// filtered reports whether q hides events of the time that it asks for.
func (p *prover) filtered() bool {
	q := p.q
	q.From, q.To, q.Newest = store.EventQuery{}.From, store.EventQuery{}.To, false
	return q != (store.EventQuery{})
}

func (p *prover) run() (err error) {
	if p.reader, err = p.l.newReader(p.snap, p.q); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.reader.close()) }()
	row := rowOf(p.account)
	p.events, err = p.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{row}, UpperBound: []byte{row + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.events.Close()) }()
	seals, err := p.snap.NewIter(&pebble.IterOptions{LowerBound: sealsOf([]byte{row}), UpperBound: sealsOf([]byte{row + 1})})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, seals.Close()) }()
	from := nanos(p.q.From)
	for b, ok := bucketOf(from), true; ok; {
		prefix := sealsOf(accountPrefix(nil, b, p.account))
		ok = seals.SeekGE(binary.BigEndian.AppendUint64(slices.Clone(prefix), from))
		for ; ok && bytes.HasPrefix(seals.Key(), prefix); ok = seals.Next() {
			if err := p.segment(prefix, seals.Value()); err != nil {
				return err
			}
		}
		if ok { // the next bucket that holds anything
			b = max(b+1, binary.BigEndian.Uint32(seals.Key()[1:]))
		}
	}
	if err := seals.Error(); err != nil {
		return err
	}
	return p.last()
}

// segment adds a segment; its row is in the bucket of the prefix.
func (p *prover) segment(prefix, value []byte) error {
	before, g, err := parseSegment(value)
	if err != nil {
		return err
	}
	if !p.begun {
		p.begun = true
		p.chain.From = before
		if !p.yield(chain.Part{Chain: &p.chain}, nil) {
			return errStopped
		}
	}
	if err := p.send(&before); err != nil {
		return err
	}
	s, err := p.show(prefix, &before, &g)
	p.held = &s
	return err
}

// show decides which events of a segment are shown.
func (p *prover) show(prefix []byte, before *chain.State, g *chain.Segment) (chain.Shown, error) {
	after := before.Next(g)
	whole := chain.Shown{Segment: *g, Check: after.Check()}
	from, to := int64(nanos(p.q.From)/1e6), int64(p.reader.to/1e6)
	if !p.filtered() && (before.Time > from || p.q.From.IsZero()) && g.Time < to {
		return whole, nil
	}
	if before.Time > to {
		return chain.Conceal(*g, after), nil
	}
	shown, leaves := make([]bool, 0, g.Count), make([]chain.Hash, 0, g.Count)
	start := bytes.Clone(prefix)
	start[0] = rowOf(p.account)
	n := len(start)
	if before.Events > 0 {
		start = binary.BigEndian.AppendUint64(start, uint64(before.Time)*1e6)
	}
	for ok := p.events.SeekGE(start); ok && bytes.HasPrefix(p.events.Key(), start[:n]); ok = p.events.Next() {
		at, parsed := parsePlace(p.events.Key())
		if !parsed {
			return whole, errCorrupt
		}
		if at.seq > g.Last {
			break
		}
		if at.seq < g.First {
			continue
		}
		match, err := p.reader.matches(at, p.events.Value())
		if err != nil {
			return whole, err
		}
		e, err := p.reader.dec.event(p.account, at.ns, at.seq, p.events.Value())
		if err != nil {
			return whole, err
		}
		shown = append(shown, match && at.ns >= p.reader.from && at.ns < p.reader.to)
		leaves = append(leaves, e.Leaf(p.reader.enc))
	}
	if err := p.events.Error(); err != nil || uint64(len(shown)) != g.Count {
		return whole, err // the verifier finds that events are missing
	}
	return chain.Show(*g, after, shown, leaves), nil
}

// send hands over the segment that is held; the disk has the state after it in the next
// one, or in the account's row.
func (p *prover) send(after *chain.State) error {
	if p.held == nil {
		return nil
	}
	if after.Seq == p.held.Last {
		p.held.Check = after.Check()
	}
	if !p.yield(chain.Part{Shown: p.held}, nil) {
		return errStopped
	}
	return nil
}

func (p *prover) last() error {
	if p.begun {
		return p.send(&p.end)
	}
	p.chain.From = p.end
	if !p.yield(chain.Part{Chain: &p.chain}, nil) {
		return errStopped
	}
	return nil
}
