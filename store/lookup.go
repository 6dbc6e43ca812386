package store

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"
)

// noExtra is what all keys without extra settings share. Nobody writes to it.
var noExtra = new(Extra)

// Lookup returns what admission needs of the key with hash h; nil if it is not
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
		account, extra, err := unpackRecord(&r.record, string(value))
		if err != nil {
			return err
		}
		if r.record.Account = s.view.cell(account); r.record.Account == nil {
			return nil // its account is deleted; the row is removed soon
		}
		if r.record.Extra, r.extra, err = s.cache.extras.intern(extra); err != nil {
			return err
		}
		r.hash = *h
		e = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up a key: %w", err)
	}
	return e, nil
}

// extras keeps one [Extra] for each distinct packed form, since keys that were
// made alike differ in their ids only. It is emptied when it holds extrasMax:
// records go on with what they have, and the next ones share anew.
type extras struct {
	mu sync.Mutex
	by map[string]*Extra
}

const (
	extrasMax  = 1024
	extraBytes = 512 // larger packed forms are not worth remembering
)

// intern returns what row means, and the bytes that it costs anew.
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
	e, err := unpackExtra(row)
	if err != nil {
		return nil, 0, err
	}
	// Its strings are in row; a prefix takes up to ten times its packed form.
	cost := uint32(unsafe.Sizeof(*e)) + 10*uint32(len(row))
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
