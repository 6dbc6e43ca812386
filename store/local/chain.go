package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/pack"
)

// maxOpen bounds the events of an account that are not sealed: its marks take 256 KiB.
const maxOpen = 1 << 16

// chains are the chains of the accounts in this node's stream; see package chain. They
// belong to the writer, and hold some 200 bytes for each account with events, and four
// bytes for each event of the last minute.
//
// A segment ends with the minute, so that all of it lies in one bucket: it is removed
// with its events, and a cut by time is made between two segments.
type chains struct {
	begin uint64 // number of the first event that is chained
	of    map[owner]*accountChain
	dec   decoder
	room  eventRoom // of the event under way
	enc   *chain.Encoder
	last  uint64 // time of the last event
	now   uint64 // the time of all records of a shard; 0 while none is written
}

// accountChain is the end of an account's chain.
type accountChain struct {
	id     owner
	open   chain.Open
	minute uint32 // of the open events
	now    chain.State
	since  int64 // events of before are removed, Unix milliseconds; 0 if none are
}

// chainRow names an account's chain.
func chainRow(account owner) []byte { return append([]byte{rowChain}, account...) }

var beginRow = []byte{rowOwn, 'c'}

// sealsOf maps a key or bound of events to that of their segments.
func sealsOf(key []byte) []byte {
	k := bytes.Clone(key)
	k[0] += rowSeal - rowEvent
	return k
}

func packState(b []byte, s *chain.State) []byte {
	b = append(b, s.Link[:]...)
	b = binary.AppendUvarint(b, s.Seq)
	b = binary.AppendUvarint(b, s.Events)
	return binary.AppendVarint(b, s.Time)
}

func readState(p *pack.Reader[[]byte]) (s chain.State) {
	copy(s.Link[:], p.Take(uint64(len(s.Link))))
	s.Seq, s.Events, s.Time = p.Uvarint(), p.Uvarint(), p.Varint()
	return s
}

// packSegment writes a segment's row: the state before it, and the segment.
func packSegment(b []byte, before *chain.State, g *chain.Segment) []byte {
	b = packState(b, before)
	b = binary.AppendUvarint(b, g.First)
	b = binary.AppendUvarint(b, g.Last)
	b = binary.AppendUvarint(b, g.Count)
	b = binary.AppendVarint(b, g.Time)
	b = append(b, g.Root[:]...)
	return append(b, g.Marks...)
}

func parseSegment(v []byte) (before chain.State, g chain.Segment, err error) {
	p := pack.NewReader(v)
	before = readState(&p)
	g = chain.Segment{First: p.Uvarint(), Last: p.Uvarint(), Count: p.Uvarint(), Time: p.Varint()}
	copy(g.Root[:], p.Take(uint64(len(g.Root))))
	if rest := p.Rest(); len(rest) > 0 {
		g.Marks = bytes.Clone(rest)
	}
	if p.Bad() {
		return before, g, errCorrupt
	}
	return before, g, nil
}

// loadChains reads where the chains ended, and the events that no segment has yet.
func (w *writer) loadChains() error {
	c := &w.chains
	c.of, c.enc, c.dec = make(map[owner]*accountChain), chain.NewEncoder(), newDecoder(w.l)
	c.room.texts = new(strings.Builder)
	v, err := w.l.get(beginRow)
	if err != nil {
		return err
	}
	if v == nil { // events of an earlier version stay as they are
		v = binary.BigEndian.AppendUint64(nil, w.seq+1)
		if err := w.l.db.Set(beginRow, v, pebble.Sync); err != nil {
			return err
		}
	}
	if len(v) != 8 {
		return errCorrupt
	}
	c.begin = binary.BigEndian.Uint64(v)
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowChain}, UpperBound: []byte{rowChain + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		p := pack.NewReader(it.Value())
		id := owner(it.Key()[1:])
		a := &accountChain{id: id, now: readState(&p), since: p.Varint()}
		if p.Bad() {
			return errors.Join(errCorrupt, it.Close())
		}
		c.of[id] = a
		c.last = max(c.last, uint64(a.now.Time)*1e6)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	for account, bucket := range w.oldest {
		if err := w.reopen(account, bucket); err != nil {
			return fmt.Errorf("read the last events of %q: %w", account, err)
		}
	}
	return w.commit(0)
}

// reopen adds the events of an account that are not sealed to its chain; from bucket on
// there may be some.
func (w *writer) reopen(account owner, bucket uint32) error {
	a := w.chains.get(account)
	if a.now.Events > 0 {
		bucket = max(bucket, bucketOf(uint64(a.now.Time)*1e6))
	}
	it, err := w.l.db.NewIter(&pebble.IterOptions{LowerBound: bucketKey(nil, rowOf(account), bucket), UpperBound: []byte{rowOf(account) + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.SeekGE(accountPrefix(nil, bucket, account)); ok; {
		p, parsed := parsePlace(it.Key())
		switch {
		case !parsed:
			return errCorrupt
		case string(p.account) < string(account) && len(p.account) <= len(account), len(p.account) < len(account):
			ok = it.SeekGE(accountPrefix(nil, p.bucket, account))
			continue
		case string(p.account) != string(account):
			ok = it.SeekGE(accountPrefix(nil, p.bucket+1, account))
			continue
		}
		if p.seq >= w.chains.begin && p.seq > a.now.Seq {
			if err := w.chains.add(w.batch, p.account, p.ns, p.seq, it.Value(), nil); err != nil {
				return err
			}
		}
		ok = it.Next()
	}
	return it.Error()
}

// get returns the chain of an account, beginning one if there is none.
func (c *chains) get(account owner) *accountChain {
	a := c.of[account]
	if a == nil {
		a = &accountChain{id: account, now: chain.Genesis(c.dec.idsOf(account), string(account.account()), c.begin)}
		c.of[account] = a
	}
	return a
}

// stamp is the time at which an event that began at started is written: milliseconds, which
// every format of an export holds. It does not go back with the clock, so that the order of
// times is that of numbers, unless the clock was more than a bucket ahead.
func (c *chains) stamp(l *Local, started uint64) uint64 {
	if l.cfg.stamp != nil {
		return l.cfg.stamp(started)
	}
	const milli = 1e6
	now := c.now
	if now == 0 {
		now = nanos(l.now())
	}
	now = now / milli * milli
	if last := c.last; now < last && last-now <= uint64(span) {
		now = last
	}
	c.last = now
	return now
}

// add adds an event to its account's chain. parsed is the request in its value, if it is at
// hand.
func (c *chains) add(batch *pebble.Batch, account []byte, ns, seq uint64, value []byte, parsed *request[[]byte]) error {
	a := c.of[owner(account)]
	if a == nil {
		a = c.get(owner(account))
	}
	minute := minuteOf(ns)
	if minute != a.minute || a.open.Len() >= maxOpen {
		if err := c.seal(batch, owner(account), a); err != nil {
			return err
		}
	}
	a.minute = minute
	leaf, err := c.leaf(a.id, ns, seq, value, parsed)
	if err != nil {
		return err
	}
	a.open.Add(seq, int64(ns/1e6), leaf)
	return nil
}

// seal ends the open segment of an account.
func (*chains) seal(batch *pebble.Batch, account owner, a *accountChain) error {
	if a.open.Len() == 0 {
		return nil
	}
	g := a.open.Seal()
	key := sealsOf(eventKey(nil, account, uint64(g.Time)*1e6, g.Last))
	if err := batch.Set(key, packSegment(nil, &a.now, &g), nil); err != nil {
		return err
	}
	a.now = a.now.Next(&g)
	return a.save(batch, account)
}

func (a *accountChain) save(batch *pebble.Batch, account owner) error {
	return batch.Set(chainRow(account), binary.AppendVarint(packState(nil, &a.now), a.since), nil)
}

// gone notes that the events of an account before ns are removed.
func (w *writer) gone(account owner, ns uint64) error {
	a := w.chains.of[account]
	if a == nil || a.now.Events == 0 || int64(ns/1e6)+1 <= a.since {
		return nil
	}
	a.since = int64(ns/1e6) + 1 // the millisecond that it falls into may be gone, too
	return a.save(w.batch, account)
}

// between is the key at which the events with a prefix can be cut near ns: after the last
// segment before it. It is the prefix itself if there is none.
func (l *Local) between(prefix []byte, ns uint64) (key []byte, at uint64, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: sealsOf(prefix), UpperBound: binary.BigEndian.AppendUint64(sealsOf(prefix), ns)})
	if err != nil {
		return nil, 0, err
	}
	defer it.Close()
	if !it.Last() {
		return prefix, 0, it.Error()
	}
	n := len(it.Key()) - 16
	at, seq := binary.BigEndian.Uint64(it.Key()[n:]), binary.BigEndian.Uint64(it.Key()[n+8:])
	key = binary.BigEndian.AppendUint64(bytes.Clone(prefix), at)
	return binary.BigEndian.AppendUint64(key, seq+1), at, it.Error()
}

// Sealed is the state of one of this node's streams when all events were sealed.
type Sealed struct {
	Stream     string
	Seq, Begin uint64
	Accounts   []chain.Account // sorted
}

// Root is the root over the chains of all accounts.
func (s *Sealed) Root() chain.Hash { return chain.AccountsRoot(s.Accounts) }

// sealAll seals the events of all accounts: those of requests, and the refusals of accounts.
func (w *writer) sealAll() ([]*Sealed, error) {
	if err := w.strays.write(w, false); err != nil {
		return nil, err
	}
	c := &w.chains
	all := &Sealed{Stream: c.dec.prefix, Seq: w.seq, Begin: c.begin, Accounts: make([]chain.Account, 0, len(c.of))}
	refused := &Sealed{Stream: c.dec.refused, Begin: c.begin}
	for of, a := range c.of {
		if err := c.seal(w.batch, of, a); err != nil {
			return nil, err
		}
		if a.now.Events == 0 {
			continue
		}
		s := all
		if refuses(of) {
			s = refused
			s.Seq = max(s.Seq, a.now.Seq)
		}
		s.Accounts = append(s.Accounts, chain.Account{Account: string(of.account()), State: a.now, Since: a.since})
	}
	chain.SortAccounts(all.Accounts)
	chain.SortAccounts(refused.Accounts)
	return []*Sealed{all, refused}, w.commit(0)
}
