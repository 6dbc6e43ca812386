package store

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/perfgate/perfgate/limiter"
)

// noExtra is shared by all keys without extra settings. It is never written to.
var noExtra = new(Extra)

// Lookup returns the record of the key with hash h; nil if it is not
// known, or its account is deleted. A hit in the cache allocates nothing.
func (s *Store) Lookup(h Hash) (*Record, error) {
	r := s.cache.get(&h)
	if r == nil {
		generation := s.cache.generation(&h)
		e, err := s.readRecord(&h)
		if e == nil || err != nil {
			return nil, err
		}
		s.cache.put(e, generation)
		r = &e.record
	}
	if r.Account.Load() == nil {
		return nil, nil
	}
	return r, nil
}

// readRecord decodes h's row; nil if there is none.
func (s *Store) readRecord(h *Hash) (*entry, error) {
	var e *entry
	var buf [1 + len(h)]byte
	err := s.find(hashRow(buf[:0], h), func(value []byte) error {
		r := new(entry)
		account, lineage, extra, err := unpackRecord(&r.record, string(value))
		if err != nil {
			return err
		}
		if r.record.Account = s.view.cell(account); r.record.Account == nil {
			return nil // its account is deleted; the row is removed soon
		}
		if r.record.Extra, r.extra, err = s.cache.extras.intern(extra); err != nil {
			return err
		}
		r.follow(lineage)
		r.hash = *h
		e = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up a key: %w", err)
	}
	return e, nil
}

// follow makes the record count as the first key of its lineage. Only a key with
// limits or a budget of its own is counted by its id; such a key gets settings of its
// own, since shared ones belong to keys of many lineages.
func (e *entry) follow(l Lineage) {
	if x := e.record.Extra; l.ID != "" && (x.Limit != limiter.Limit{} || x.Budget != 0 || x.MaxConcurrent != 0) {
		own := *x
		own.Lineage = Lineage{ID: KeyID(strings.Clone(string(l.ID))), Created: l.Created}
		e.record.Extra = &own
		e.extra += uint32(unsafe.Sizeof(own)) + uint32(len(l.ID))
	}
}

// extras keeps one [Extra] for each distinct packed form, since keys that were
// made alike differ in their ids only. It is emptied when it holds extrasMax:
// existing records keep theirs, and later ones share new ones.
type extras struct {
	routes func([]string) Routes // [Config.Routes]

	mu sync.Mutex // guards by
	by map[string]*Extra
}

const (
	extrasMax  = 1024
	extraBytes = 512 // larger packed forms are not worth remembering
)

// intern returns the settings in row, and the bytes that they cost if they are new.
func (x *extras) intern(row string) (*Extra, uint32, error) {
	if row == "" {
		return noExtra, 0, nil
	}
	x.mu.Lock()
	e := x.by[row]
	x.mu.Unlock()
	if e != nil {
		return e, 0, nil
	}
	row = strings.Clone(row) // the caller's is part of something larger
	e, cost, err := unpackExtra(row, x.routes)
	if err != nil {
		return nil, 0, err
	}
	if len(row) > extraBytes {
		return e, cost, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.by) >= extrasMax || x.by == nil {
		x.by = make(map[string]*Extra)
	}
	x.by[row] = e
	return e, cost, nil
}
