package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Held is how much of the state the keys of one account take up.
type Held struct {
	Keys  int   // revoked ones included: they are kept
	Bytes int64 // of their rows
}

func (h *Held) add(o Held) {
	h.Keys += o.Keys
	h.Bytes += o.Bytes
}

// holdings counts the keys of accounts that were asked for. An account is counted by
// one scan of its keys when it is asked for the first time; from then on apply
// keeps the count.
type holdings struct {
	// mu guards of. Apply holds it while it commits, so that a scan, whose iterator is
	// made under mu, and the changes that are added to it meet at one point of the log.
	mu sync.Mutex
	of map[AccountID]*holding // accounts that exist: 100,000 at most
}

// holding is one account's count.
type holding struct {
	held    Held          // guarded by holdings.mu
	counted chan struct{} // closed after the scan
	err     error         // of the scan; set before counted is closed
}

// KeySize is the number of bytes that k takes up in [Held.Bytes].
func KeySize(k *Key) int64 { return int64(len(packKey(nil, k))) }

// Held counts the keys of an account that exists, as of the applied index.
func (s *Store) Held(account AccountID) (Held, error) {
	hs := &s.held
	hs.mu.Lock()
	h := hs.of[account]
	if h == nil && s.view.cell(account) == nil {
		hs.mu.Unlock()
		return Held{}, nil
	}
	if h == nil {
		if err := hs.begin(s.database, account); err != nil { // unlocks
			return Held{}, fmt.Errorf("count the keys of %s: %w", account, err)
		}
		return s.Held(account)
	}
	hs.mu.Unlock()
	<-h.counted
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return h.held, h.err
}

// begin counts an account. It is called with mu held and returns without.
func (hs *holdings) begin(d database, account AccountID) error {
	rows := accountRows(rowKey, account)
	it, err := d.iterate(&pebble.IterOptions{LowerBound: rows, UpperBound: prefixEnd(rows)})
	if err != nil {
		hs.mu.Unlock()
		return err
	}
	h := &holding{counted: make(chan struct{})}
	hs.of[account] = h
	hs.mu.Unlock()

	var held Held
	for ok := it.First(); ok; ok = it.Next() {
		held.add(Held{1, int64(len(it.Value()))})
	}
	err = errors.Join(it.Error(), it.Close())

	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.held.add(held)
	if h.err = err; err != nil && hs.of[account] == h {
		delete(hs.of, account)
	}
	close(h.counted)
	return err
}

// reset forgets every count, after the rows were replaced.
func (hs *holdings) reset() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.of = make(map[AccountID]*holding)
}

// commit runs write, which commits a batch, and counts the changes of the batch: the
// accounts in grown by their keys, and those in states that are nil, which were deleted.
func (hs *holdings) commit(grown map[AccountID]Held, states map[AccountID]*AccountState, write func() error) error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if err := write(); err != nil {
		return err
	}
	for id, by := range grown {
		if h := hs.of[id]; h != nil {
			h.held.add(by)
		}
	}
	for id, state := range states {
		if state == nil {
			delete(hs.of, id)
		}
	}
	return nil
}
