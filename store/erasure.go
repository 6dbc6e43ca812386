package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// LevelOfErasures is the level of nodes that know erasures.
const LevelOfErasures = 7

// ErasureID names an erasure: "ers_" and 22 base62 characters.
type ErasureID string

// ErasureState is how far an erasure is.
type ErasureState string

// The states of an erasure.
const (
	ErasureScheduled ErasureState = "scheduled" // waits for its time, and can be cancelled
	ErasureCancelled ErasureState = "cancelled"
	ErasureRunning   ErasureState = "running" // the state holds nothing any more; nodes remove what their files hold
	ErasureDone      ErasureState = "done"    // on all nodes
)

// The bounds of erasures.
const (
	MaxErasures       = 100 // of an account; the oldest that are over go first
	MaxErasureBackups = 100 // names that a node reports
	// ErasureNotice is how long an erasure can be cancelled.
	ErasureNotice = 24 * time.Hour
)

// Erasure is the removal of the data that is stored about an account. The rows of erasures
// stay: they are the ledger by which a restore erases again. They name callers by id
// alone.
type Erasure struct {
	ID         ErasureID    `json:"id"`
	Account    AccountID    `json:"account"`
	Everything bool         `json:"everything,omitzero"` // keys, users and the account end, too
	State      ErasureState `json:"state"`

	RequestedAt time.Time     `json:"requested_at"`
	RequestedBy Actor         `json:"requested_by"`
	EffectiveAt time.Time     `json:"effective_at"`
	CancelledAt time.Time     `json:"cancelled_at,omitzero"`
	CancelledBy Actor         `json:"cancelled_by,omitzero"`
	ErasedAt    time.Time     `json:"erased_at,omitzero"` // from the state
	Index       uint64        `json:"index,omitzero"`     // of the entry that erased
	Nodes       []ErasureNode `json:"nodes,omitzero"`     // that removed what their files held
	DoneAt      time.Time     `json:"done_at,omitzero"`
	Modified    uint64        `json:"modified"`
}

// Over reports whether nothing more will happen.
func (e *Erasure) Over() bool { return e.State == ErasureCancelled || e.State == ErasureDone }

// Reported reports whether the node id has removed what its files held.
func (e *Erasure) Reported(id string) bool {
	return slices.ContainsFunc(e.Nodes, func(n ErasureNode) bool { return n.ID == id })
}

// ErasureNode is what a node did, and what it knows to be left.
type ErasureNode struct {
	ID   string    `json:"id"`
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	// Log is the first entry that the node's log still holds.
	Log uint64 `json:"log"`
	// OldKeys says that free space of the disk may be readable by an older data key of the
	// node, until its next start.
	OldKeys bool `json:"old_keys,omitzero"`
	// Backups are the scheduled backups that the node can see from before the erasure, at
	// most [MaxErasureBackups], of Count.
	Backups []string `json:"backups,omitzero"`
	Count   int      `json:"backups_total,omitzero"`
}

func erasureRow(account AccountID, id ErasureID) []byte {
	return append(accountRows(rowErasure, account), id...)
}

func erasureIDRow(id ErasureID) []byte { return named(rowErasureID, id) }

func openErasureRow(id ErasureID) []byte { return named(rowErasing, id) }

func decodeErasure(row []byte) (*Erasure, error) {
	e := new(Erasure)
	if err := json.Unmarshal(row, e); err != nil {
		return nil, fmt.Errorf("read an erasure: %w", err)
	}
	return e, nil
}

// Erasures reads erasures.
type Erasures struct{ from *Store }

// Erasures returns what reads erasures.
func (s *Store) Erasures() Erasures { return Erasures{s} }

// Get returns an erasure; nil if there is none.
func (r Erasures) Get(id ErasureID) (*Erasure, error) {
	if !validID(id) {
		return nil, nil
	}
	account, err := r.from.get(erasureIDRow(id))
	if account == nil || err != nil {
		return nil, err
	}
	row, err := r.from.get(erasureRow(AccountID(account), id))
	if row == nil || err != nil {
		return nil, err
	}
	return decodeErasure(row)
}

// List lists those of an account, at most [MaxErasures], the newest first.
func (r Erasures) List(account AccountID) ([]*Erasure, error) {
	return r.list(accountRows(rowErasure, account))
}

// All lists those of all accounts, also of accounts that are gone: it is the ledger.
func (r Erasures) All() ([]*Erasure, error) { return r.list([]byte{rowErasure}) }

func (r Erasures) list(prefix []byte) (list []*Erasure, err error) {
	err = r.from.scan(prefix, func(_, value []byte) error {
		e, err := decodeErasure(value)
		list = append(list, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the erasures: %w", err)
	}
	slices.SortFunc(list, func(a, b *Erasure) int { return b.RequestedAt.Compare(a.RequestedAt) })
	return list, nil
}

// Open lists the erasures that are scheduled or running.
func (r Erasures) Open() (list []*Erasure, err error) {
	var ids []ErasureID
	err = r.from.scan([]byte{rowErasing}, func(row, _ []byte) error {
		ids = append(ids, ErasureID(row[1:]))
		return nil
	})
	for _, id := range ids {
		if err != nil {
			break
		}
		var e *Erasure
		if e, err = r.Get(id); e != nil {
			list = append(list, e)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list the open erasures: %w", err)
	}
	return list, nil
}

// Removed reports whether the rows of an erased account's keys are gone: they are removed
// a bounded number at a time.
func (r Erasures) Removed(e *Erasure) (bool, error) {
	if !e.Everything {
		return true, nil
	}
	row, err := r.from.get(named(rowDeleted, e.Account))
	return row == nil, err
}

// Known collects the ledger and the accounts.
func (r Erasures) Known() (*ErasuresOf, error) {
	known := new(ErasuresOf)
	for _, table := range []byte{rowAccount, rowErasure} {
		if err := r.from.scan([]byte{table}, known.Add); err != nil {
			return nil, fmt.Errorf("read the accounts and their erasures: %w", err)
		}
	}
	return known, nil
}

// ErasuresOf collects the ledger, and the accounts, from the rows of a backup or a state.
type ErasuresOf struct {
	of       map[ErasureID]*Erasure
	accounts map[AccountID]bool
}

// Add takes the next row.
func (l *ErasuresOf) Add(row, value []byte) error {
	if len(row) > 0 && row[0] == rowAccount {
		if l.accounts == nil {
			l.accounts = make(map[AccountID]bool)
		}
		l.accounts[AccountID(row[1:])] = true
	}
	if len(row) == 0 || row[0] != rowErasure {
		return nil
	}
	e, err := decodeErasure(value)
	if err != nil {
		return err
	}
	if l.of == nil {
		l.of = make(map[ErasureID]*Erasure)
	}
	l.of[e.ID] = e
	return nil
}

// Left returns those of list that took place and that the backup does not know of.
func (l *ErasuresOf) Left(list []*Erasure) (left []*Erasure) {
	for _, e := range list {
		if known := l.of[e.ID]; e.ErasedAt.IsZero() || known != nil && !known.ErasedAt.IsZero() {
			continue
		}
		left = append(left, e)
	}
	return left
}

// All lists what was collected, by id.
func (l *ErasuresOf) All() (list []*Erasure) {
	for _, id := range slices.Sorted(maps.Keys(l.of)) {
		list = append(list, l.of[id])
	}
	return list
}

// Holds reports whether the account is in the backup.
func (l *ErasuresOf) Holds(id AccountID) bool { return l.accounts[id] }
