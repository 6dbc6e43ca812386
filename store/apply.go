package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/store/chain"
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
			s.guard.Fail(err)
		}
		for i := range answers {
			answers[i] = err
		}
	}
	return answers
}

func (s *Store) applyAll(logs []*raft.Log, answers []any) (err error) {
	t := s.begin()
	defer func() { err = errors.Join(err, t.rows.close()) }()
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
		if log.Type == raft.LogCommand && t.fingerprint.Begun() {
			s.printBuf = t.fingerprint.add(log.Index, log.Data, s.printBuf)
			t.printed = append(t.printed, t.fingerprint)
		}
		if t.rows.err == nil && t.rows.batch.Len() > batchBytes {
			t.rows.err = t.commit()
		}
		if t.rows.err != nil {
			return fmt.Errorf("apply entry %d: %w", log.Index, t.rows.err)
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
// commands; its parts say which. The changes of a part are committed and published
// with the others', or thrown away with them.
type txn struct {
	s           *Store
	applied     uint64  // the last entry in the batch
	rows        pending // every row
	state       draft   // accounts, tiers and settings
	keys        keyTable
	totals      []monthTotal
	sweep       sweep
	when        moment
	chain       chaining       // of changes
	fingerprint Fingerprint    // up to applied
	printed     []Fingerprint  // of the entries of the batch
	enc         *chain.Encoder // of the store, for its events

	// Of the command that is being applied.
	cmd     *Command
	index   uint64
	events  uint32 // written so far
	notices uint32 // made so far

	queued bool // the batch queues deliveries
}

func (s *Store) begin() *txn {
	t := &txn{
		s:           s,
		applied:     s.applied.Load(),
		rows:        newPending(s.database),
		sweep:       s.sweep,
		when:        moment{clock: s.clock},
		chain:       s.chain,
		fingerprint: s.fingerprint,
		enc:         s.enc,
	}
	t.state = draft{rows: &t.rows, view: &s.view, facts: &s.facts, rules: newRuleCompiler(s.cfg.Routes), outbox: &s.outbox, accounts: make(map[AccountID]*AccountState)}
	t.keys = keyTable{rows: &t.rows, grown: make(map[AccountID]Held)}
	return t
}

// commit makes the batch so far true and visible, and begins a new one.
func (t *txn) commit() error {
	s := t.s
	if t.applied == s.applied.Load() {
		return nil
	}
	if err := t.rows.closeIter(); err != nil {
		return err
	}
	if err := t.rows.batch.Set(appliedRow, packApplied(t.applied, &t.fingerprint), nil); err != nil {
		return err
	}
	if t.when.clock != s.clock {
		if err := t.rows.batch.Set(clockRow, packClock(&t.when.clock), nil); err != nil {
			return err
		}
	}
	if t.chain != s.chain {
		if err := t.rows.batch.Set(chainRow, packChaining(&t.chain), nil); err != nil {
			return err
		}
	}
	err := s.held.commit(t.keys.grown, t.state.accounts, func() error { return s.guard.Commit(t.rows.batch, pebble.NoSync) })
	if err != nil {
		return err
	}
	t.keys.publish(s.cache)
	t.state.publish()
	for i := range t.totals {
		t.totals[i].publish(&s.view)
	}
	t.totals = t.totals[:0]
	s.sweep, s.clock, s.chain, s.fingerprint = t.sweep, t.when.clock, t.chain, t.fingerprint
	s.fingerprints.extend(t.applied, t.printed)
	t.printed = t.printed[:0]
	s.clusterTime.Store(s.clock.now)
	s.lastChange.Store(s.chain.seq)
	s.applied.Store(t.applied)
	if t.queued {
		s.rouse()
		t.queued = false
	}
	return t.rows.renew()
}

// apply applies one command. A refused one changes nothing but, like any other,
// moves cluster time and the sweeper on.
func (t *txn) apply(index, term uint64, c *Command) Result {
	t.cmd, t.index, t.events, t.notices = c, index, 0, 0
	t.when.begin(c, term, t.sweep.At)
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
	if _, first := c.Change.(*Init); !first && t.state.set().ClusterID == "" {
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

// settle commits the earlier commands of the batch, so that a scan sees them.
func (t *txn) settle() {
	if t.rows.err == nil {
		t.rows.err = t.commit()
	}
}
