package store

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/chain"
)

// LevelOfChain is the level of nodes that chain audit events. It begins with the first
// signing key, which is proposed once all nodes of the cluster have that level.
const LevelOfChain = 5

// Leaf is the hash of e in its chain; see [chain.Columns].
func (e *Event) Leaf(enc *chain.Encoder) chain.Hash {
	var room [32]byte
	number := func(n uint64) {
		if n == 0 {
			enc.Text("")
		} else {
			enc.Bytes(strconv.AppendUint(room[:0], n, 10))
		}
	}
	enc.Text(e.ID)
	enc.Bytes(strconv.AppendUint(room[:0], e.Seq, 10))
	enc.Time(e.Time)
	for _, s := range [...]string{string(e.EventType), e.Action, string(e.Actor.Type), e.Actor.ID, e.Actor.Name, string(e.Account), string(e.KeyID),
		e.Target, string(e.Outcome), e.Reason, e.IP, e.Country, e.UserAgent} {
		enc.Text(s)
	}
	r := e.Request
	if r == nil {
		r = &EventRequest{}
	}
	enc.Text(r.ID)
	enc.Text(r.Method)
	enc.Text(r.Route)
	number(uint64(max(r.Status, 0)))
	if r.DurationMS == 0 || r.Status == 0 {
		enc.Text("")
	} else {
		enc.Bytes(strconv.AppendFloat(room[:0], r.DurationMS, 'f', -1, 64))
	}
	enc.Bytes(e.Changes)
	enc.Text(r.Path)
	enc.Text(r.Upstream)
	number(uint64(max(r.Attempts, 0)))
	enc.Time(r.StartedAt)
	enc.Text(r.Errors)
	number(uint64(e.Count))
	return enc.Leaf()
}

// chaining is the stream of changes as it goes on: it begins with the first signing key.
type chaining struct {
	begin uint64 // number of the first event that is chained; 0 while none is
	seq   uint64 // of the last event
	time  int64  // of the last event, Unix milliseconds
	heads uint64 // signed so far
}

func packChaining(c *chaining) []byte {
	b := binary.AppendUvarint(nil, c.begin)
	b = binary.AppendUvarint(b, c.seq)
	b = binary.AppendVarint(b, c.time)
	return binary.AppendUvarint(b, c.heads)
}

func unpackChaining(row []byte) (c chaining, err error) {
	if row == nil {
		return c, nil
	}
	u := unpack(string(row))
	c = chaining{u.Uvarint(), u.Uvarint(), u.Varint(), u.Uvarint()}
	return c, u.err()
}

func (d database) readChaining() (chaining, error) {
	row, err := d.get(chainRow)
	if err != nil {
		return chaining{}, fmt.Errorf("read the chain of changes: %w", err)
	}
	return unpackChaining(row)
}

// link is an account's chain of changes, with its end at the last head that it changed
// after: a proof leads to that head while events go on.
type link struct {
	now    end
	sealed end
	head   uint64 // number of the newest head when now began to differ from sealed
}

// end is the end of a chain and what has expired of it; see [chain.Account].
type end struct {
	chain.State
	since int64
}

// at is the end of the chain at the newest head, whose number is given; false if the chain
// began later.
func (l *link) at(head uint64) (end, bool) {
	if l.head == head {
		return l.sealed, l.sealed.Events > 0
	}
	return l.now, l.now.Events > 0
}

// keep notes the end at the newest head before it changes.
func (l *link) keep(head uint64) {
	if l.head != head {
		l.sealed, l.head = l.now, head
	}
}

func packState(b []byte, s chain.State) []byte {
	b = append(b, s.Link[:]...)
	b = binary.AppendUvarint(b, s.Seq)
	b = binary.AppendUvarint(b, s.Events)
	return binary.AppendVarint(b, s.Time)
}

func (u *unpacker) state() (s chain.State) {
	copy(s.Link[:], u.Take(uint64(len(s.Link))))
	s.Seq, s.Events, s.Time = u.Uvarint(), u.Uvarint(), u.Varint()
	return s
}

func packEnd(b []byte, e end) []byte { return binary.AppendVarint(packState(b, e.State), e.since) }

func packLink(l *link) []byte {
	return packEnd(packEnd(binary.AppendUvarint(nil, l.head), l.sealed), l.now)
}

func unpackLink(row []byte) (l link, err error) {
	u := unpack(string(row))
	l = link{head: u.Uvarint(), sealed: end{u.state(), u.Varint()}, now: end{u.state(), u.Varint()}}
	return l, u.err()
}

// link reads the chain of an account; false if it has none.
func (t *txn) link(account AccountID) (l link, ok bool) {
	v := t.rows.get(named(rowLink, account))
	if v == nil {
		return l, false
	}
	l, err := unpackLink(v)
	if err != nil {
		t.rows.fault(fmt.Errorf("read the chain of %s: %w", account, err))
	}
	return l, err == nil
}

// clockSkew is how far the clocks of two proposers may differ without a trace: events are
// in the order of their times, as long as no clock is further off.
const clockSkew = time.Minute

// chained puts e at the end of its account's chain and returns the state before it.
func (t *txn) chained(e *Event) chain.State {
	t.chain.seq++
	e.Seq, e.Time = t.chain.seq, millis(e.Time)
	if last := time.UnixMilli(t.chain.time).UTC(); e.Time.Before(last) && last.Sub(e.Time) <= clockSkew {
		e.Time = last
	}
	t.chain.time = e.Time.UnixMilli()
	l, ok := t.link(e.Account)
	if !ok {
		l = link{now: end{State: chain.Genesis(chain.Changes, string(e.Account), t.chain.begin)}, head: t.chain.heads}
	}
	l.keep(t.chain.heads)
	before := l.now.State
	l.now.State = before.Next(&chain.Segment{First: e.Seq, Last: e.Seq, Count: 1, Time: t.chain.time, Root: e.Leaf(t.enc)})
	t.rows.put(named(rowLink, e.Account), packLink(&l))
	return before
}

// AuditKeys lists the keys that have signed heads, oldest first. The last one is in use.
func (f *facts) AuditKeys() []chain.Key { return f.settled.Load().AuditKeys }

// LedgerKeys are the keys that sign the ledger of erasures: none while the cluster has nodes
// of an earlier build, which read no signed ledger.
func (f *facts) LedgerKeys() []chain.Key {
	if f.ClusterLevel() < LevelOfSignedLedgers {
		return nil
	}
	return f.AuditKeys()
}

// signer is the key that signs heads; nil if there is none.
func (set *settings) signer() ed25519.PrivateKey {
	if len(set.AuditSeed) != ed25519.SeedSize {
		return nil
	}
	return ed25519.NewKeyFromSeed(set.AuditSeed)
}

// AuditHead is the newest head of a stream; nil if there is none.
func (s *Store) AuditHead(stream string) (*chain.Head, error) {
	return headOf(s.db, stream)
}

// headOf reads the newest head of a stream from a database or a snapshot of it.
func headOf(r pebble.Reader, stream string) (*chain.Head, error) {
	v, closer, err := r.Get(named(rowHead, stream))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the head of %s: %w", stream, err)
	}
	h, err := decodeHead(v)
	return h, errors.Join(err, closer.Close())
}

func decodeHead(v []byte) (*chain.Head, error) {
	h := new(chain.Head)
	if err := json.Unmarshal(v, h); err != nil {
		return nil, fmt.Errorf("read a head of the audit log: %w", err)
	}
	return h, nil
}

// AuditHeads lists the newest heads of all streams, by name.
func (s *Store) AuditHeads() (list []chain.Head, err error) {
	err = s.scan([]byte{rowHead}, func(_, v []byte) error {
		var h chain.Head
		err := json.Unmarshal(v, &h)
		list = append(list, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the heads of the audit log: %w", err)
	}
	return list, nil
}

// chains lists the chains of changes at the newest head, sorted by account.
func chains(r pebble.Reader, head uint64) (list []chain.Account, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{rowLink}, UpperBound: []byte{rowLink + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		l, err := unpackLink(it.Value())
		if err != nil {
			return nil, err
		}
		if e, ok := l.at(head); ok {
			list = append(list, chain.Account{Account: string(it.Key()[1:]), State: e.State, Since: e.since})
		}
	}
	return list, it.Error()
}

// millis is t as chained events keep it: every format of an export holds it.
func millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// dropOldKeys keeps the newest keys, up to n.
func dropOldKeys(list []chain.Key, n int) []chain.Key {
	return slices.Clone(list[max(0, len(list)-n):])
}
