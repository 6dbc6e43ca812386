package store

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/perfgate/perfgate/limiter"
)

// view is the part of the state that is held in memory whole: accounts (100,000 at most) and tiers
// (1,000 at most). Apply is its only writer; a state once published is never
// changed, only replaced.
type view struct {
	mu     sync.RWMutex // guards the two below; a cell's state is an atomic of its own
	cells  map[AccountID]*Cell
	sorted []AccountID // the keys of cells
	tiers  atomic.Pointer[map[string]*Tier]
	// imports counts the accounts that imported keys with a prefix; see [Store.Imported].
	imports atomic.Pointer[map[string]int]
}

func (v *view) init() {
	v.cells = make(map[AccountID]*Cell)
	v.tiers.Store(&map[string]*Tier{})
	v.imports.Store(&map[string]int{})
}

func (v *view) cell(id AccountID) *Cell {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.cells[id]
}

// publish makes state the newest of its account; nil ends the account.
func (v *view) publish(id AccountID, state *AccountState) {
	cell := v.cell(id)
	if cell == nil && state == nil {
		return
	}
	v.countImports(cell, state)
	if cell != nil {
		cell.state.Store(state)
		if state != nil {
			return
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	i, _ := slices.BinarySearch(v.sorted, id)
	if state == nil {
		delete(v.cells, id)
		v.sorted = slices.Delete(v.sorted, i, i+1)
		return
	}
	v.cells[id] = newCell(state)
	v.sorted = slices.Insert(v.sorted, i, id)
}

// replace publishes states in place of all that is there.
func (v *view) replace(states map[AccountID]*AccountState, tiers map[string]*Tier) {
	v.tiers.Store(&tiers)
	imports := make(map[string]int)
	for _, state := range states {
		for _, p := range state.Imports {
			imports[p]++
		}
	}
	v.imports.Store(&imports)
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, cell := range v.cells {
		if states[id] == nil {
			cell.state.Store(nil)
			delete(v.cells, id)
		}
	}
	for id, state := range states {
		if cell := v.cells[id]; cell != nil {
			cell.state.Store(state)
			for _, m := range cell.Meters {
				m.Forget()
			}
		} else {
			v.cells[id] = newCell(state)
		}
	}
	v.sorted = slices.Sorted(maps.Keys(v.cells))
}

func newCell(state *AccountState) *Cell {
	c := new(Cell)
	for i := range c.Meters {
		c.Meters[i] = limiter.NewMeter()
	}
	c.state.Store(state)
	return c
}

// Cell returns an account's place in memory; nil if there is no such account.
func (s *Store) Cell(id AccountID) *Cell { return s.view.cell(id) }

// Accounts lists up to limit accounts after the given one, by id, and where to go on:
// "" at the end.
func (s *Store) Accounts(after AccountID, limit int) ([]*Account, AccountID) {
	v := &s.view
	v.mu.RLock()
	defer v.mu.RUnlock()
	i, found := slices.BinarySearch(v.sorted, after)
	if found {
		i++
	}
	rest := v.sorted[i:]
	page := make([]*Account, 0, min(limit, len(rest)))
	for _, id := range rest[:min(limit, len(rest))] {
		if state := v.cells[id].Load(); state != nil { // else it is being deleted right now
			page = append(page, &state.Account)
		}
	}
	if len(rest) <= limit || limit <= 0 {
		return page, ""
	}
	return page, rest[limit-1]
}

// Tiers lists all tiers by name.
func (s *Store) Tiers() []*Tier {
	tiers := *s.view.tiers.Load()
	list := make([]*Tier, 0, len(tiers))
	for _, name := range slices.Sorted(maps.Keys(tiers)) {
		list = append(list, tiers[name])
	}
	return list
}

// Tier returns a tier; nil if there is none of that name.
func (s *Store) Tier(name string) *Tier { return (*s.view.tiers.Load())[name] }

// each calls use with every published account, in any order.
func (v *view) each(use func(AccountID, *AccountState)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for id, cell := range v.cells {
		use(id, cell.Load())
	}
}

func (v *view) len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.cells)
}
