package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"
	"github.com/hashicorp/raft"
)

// Apply applies one log entry; see [Store.ApplyBatch].
func (s *Store) Apply(log *raft.Log) any { return s.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies log entries in order and answers each with a [Result];
// entries that are no commands, or were applied before, are answered with a
// zero one. Raft calls it from one goroutine.
//
// The effects of the whole batch and the index of its last entry reach the
// database together. They are committed without a sync: the log is durable, and
// after a power loss Raft replays the entries that are missing. Then, in this
// order, changed keys leave the cache, accounts and settings are published, and
// the applied index is: a reader that sees it sees everything.
//
// A command that cannot be decoded and a fault of the database end the store:
// Config.Fatal is called, and this and every later batch is answered with the
// error. Nothing of the batch that was not committed before happens.
func (s *Store) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	err := s.failed
	if err == nil {
		err = s.applyAll(logs, answers)
	}
	if err != nil {
		if s.failed == nil {
			s.failed = err
			s.cfg.Fatal(err)
		}
		for i := range answers {
			answers[i] = err
		}
	}
	return answers
}

func (s *Store) applyAll(logs []*raft.Log, answers []any) (err error) {
	t := s.begin()
	defer func() { err = errors.Join(err, t.end()) }()
	for i, log := range logs {
		answers[i] = Result{}
		if log.Index <= t.applied {
			continue
		}
		if log.Type == raft.LogCommand {
			c, err := DecodeEntry(log.Data)
			if err != nil {
				return fmt.Errorf("apply entry %d: %w", log.Index, err)
			}
			answers[i] = t.apply(log.Index, log.Term, c)
		}
		t.applied = log.Index
		if t.err == nil && t.batch.Len() > batchBytes {
			t.err = t.commit()
		}
		if t.err != nil {
			return fmt.Errorf("apply entry %d: %w", log.Index, t.err)
		}
	}
	if err := t.commit(); err != nil {
		return fmt.Errorf("commit up to entry %d: %w", t.applied, err)
	}
	return nil
}

// batchBytes is where a batch is committed before the last entry is applied, so
// that a replay of large imports does not pile up in memory.
const batchBytes = 4 << 20

// txn is a batch of commands being applied. Its reads see the writes of its earlier
// commands: rows through over, accounts, tiers and settings through the
// fields of those names. Scans do not, so a command that scans commits the
// earlier ones first.
//
// The first fault of the database stays in err; reads then find nothing, and
// the batch is thrown away.
type txn struct {
	s     *Store
	batch *pebble.Batch
	it    *pebble.Iterator  // over the rows committed when it was made; nil until needed
	over  map[string][]byte // rows written since; nil means deleted
	err   error

	applied  uint64 // the last entry in the batch
	stale    []Hash
	totals   []monthTotal
	accounts map[AccountID]*AccountState // changed ones; nil means deleted
	tiers    map[string]*Tier            // a changed copy; nil if unchanged
	settings *settings                   // a changed copy; nil if unchanged
	grown    map[AccountID]Held          // by its changed keys
	sweep    sweep
	clock    clock

	// Of the command that is being applied.
	cmd    *Command
	index  uint64
	at     time.Time // its time, UTC
	events uint32    // written so far
	buf    []byte    // for one row
}

func (s *Store) begin() *txn {
	return &txn{
		s:        s,
		batch:    s.db.NewBatch(),
		over:     make(map[string][]byte),
		accounts: make(map[AccountID]*AccountState),
		grown:    make(map[AccountID]Held),
		applied:  s.applied.Load(),
		sweep:    s.sweep,
		clock:    s.clock,
	}
}

func (t *txn) end() error {
	err := t.closeIter()
	return errors.Join(err, t.batch.Close())
}

func (t *txn) closeIter() error {
	if t.it == nil {
		return nil
	}
	it := t.it
	t.it = nil
	return it.Close()
}

// commit makes the batch so far true and visible, and begins a new one.
func (t *txn) commit() error {
	s := t.s
	if t.applied == s.applied.Load() {
		return nil
	}
	if err := t.closeIter(); err != nil {
		return err
	}
	var applied [8]byte
	binary.BigEndian.PutUint64(applied[:], t.applied)
	if err := t.batch.Set(appliedRow, applied[:], nil); err != nil {
		return err
	}
	if t.clock != s.clock {
		if err := t.batch.Set(clockRow, packClock(&t.clock), nil); err != nil {
			return err
		}
	}
	if err := t.commitRows(); err != nil {
		return err
	}
	for i := range t.stale {
		s.cache.invalidate(&t.stale[i])
	}
	if t.tiers != nil {
		tiers := t.tiers // the field is cleared below, and the view keeps a pointer
		s.view.tiers.Store(&tiers)
	}
	for id, state := range t.accounts { // in any order: each is a cell of its own
		s.view.publish(id, state)
	}
	for i := range t.totals {
		t.totals[i].publish(&s.view)
	}
	if t.settings != nil {
		s.settled.Store(t.settings)
	}
	s.sweep, s.clock = t.sweep, t.clock
	s.clusterTime.Store(t.clock.now)
	s.applied.Store(t.applied)

	if err := t.batch.Close(); err != nil {
		return err
	}
	t.batch = s.db.NewBatch()
	clear(t.over)
	clear(t.accounts)
	t.stale, t.totals, t.tiers, t.settings = t.stale[:0], t.totals[:0], nil, nil
	return nil
}

// apply applies one command. A refused one changes nothing but, like any other,
// moves cluster time and the sweeper on.
func (t *txn) apply(index, term uint64, c *Command) Result {
	t.cmd, t.index, t.at, t.events = c, index, c.At.UTC(), 0
	t.stamped(term)
	sweeper{t}.round()
	if c.Once != nil {
		if r, ok := c.Once.repeat(t); ok {
			return r
		}
	}
	r := t.change(c)
	r.Index = index
	if c.Once != nil && r.Refusal == nil {
		c.Once.remember(t, &r)
	}
	return r
}

// change makes the command's change. Before the first one there is no cluster
// that another could change.
func (t *txn) change(c *Command) Result {
	if _, first := c.Change.(*Init); !first && t.set().ClusterID == "" {
		return refuse(Conflict, "the cluster is not initialised yet")
	}
	return c.Change.apply(t)
}

// refuse answers that the command changes nothing.
func refuse(why Reason, format string, args ...any) Result {
	return Result{Refusal: &Refusal{Reason: why, Message: fmt.Sprintf(format, args...)}}
}

// matches checks the command's ETag against the target's.
func (t *txn) matches(modified uint64) bool { return t.cmd.Match == 0 || t.cmd.Match == modified }

func changedMeanwhile() Result {
	return refuse(PreconditionFailed, "it has changed since it was read; read it again and repeat")
}

// fault keeps the first fault of the database.
func (t *txn) fault(err error) {
	if t.err == nil {
		t.err = err
	}
}

// get reads a row; nil if there is none. The slice is valid until the next call.
func (t *txn) get(row []byte) []byte {
	if v, ok := t.over[string(row)]; ok {
		return v
	}
	if t.err != nil {
		return nil
	}
	if t.it == nil {
		it, err := t.s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
		if err != nil {
			t.fault(err)
			return nil
		}
		t.it = it
	}
	if !t.it.SeekPrefixGE(row) {
		if err := t.it.Error(); err != nil {
			t.fault(err)
		}
		return nil
	}
	v, err := t.it.ValueAndErr()
	if err != nil {
		t.fault(err)
		return nil
	}
	return v
}

// put writes a row that later commands of the batch may get.
func (t *txn) put(row, value []byte) {
	t.over[string(row)] = append(make([]byte, 0, len(value)), value...)
	t.append(row, value)
}

// append writes a row that is only ever scanned.
func (t *txn) append(row, value []byte) {
	if err := t.batch.Set(row, value, nil); err != nil {
		t.fault(err)
	}
}

func (t *txn) delete(row []byte) {
	t.over[string(row)] = nil
	if err := t.batch.Delete(row, nil); err != nil {
		t.fault(err)
	}
}

// deleteRange deletes rows that are only ever scanned.
func (t *txn) deleteRange(from, to []byte) {
	if err := t.batch.DeleteRange(from, to, nil); err != nil {
		t.fault(err)
	}
}

// settle commits the earlier commands of the batch, so that a scan sees them.
func (t *txn) settle() {
	if t.err == nil {
		t.err = t.commit()
	}
}

// scan is [Store.scanRange] with faults kept in t.
func (t *txn) scan(from, to []byte, use func(row, value []byte) error) {
	if t.err == nil {
		t.err = t.s.scanRange(from, to, use)
	}
}

// account returns an account as of this command; nil if there is none.
func (t *txn) account(id AccountID) *AccountState {
	if state, ok := t.accounts[id]; ok {
		return state
	}
	if cell := t.s.view.cell(id); cell != nil {
		return cell.Load()
	}
	return nil
}

func (t *txn) putAccount(state *AccountState) {
	t.accounts[state.ID] = state
	t.append(named(rowAccount, state.ID), t.json(&state.Account))
}

// set returns the settings as of this command.
func (t *txn) set() *settings {
	if t.settings != nil {
		return t.settings
	}
	return t.s.settled.Load()
}

func (t *txn) putSettings(set settings) {
	t.settings = &set
	t.append(settingsRow, t.json(&set))
}

// json encodes a row that is not on the request path.
func (t *txn) json(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.fault(fmt.Errorf("encode a row: %w", err))
	}
	return b
}
