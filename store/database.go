package store

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// database reads rows as they are committed. It holds no state of its own and may
// be used from any goroutine.
type database struct {
	db *pebble.DB

	// swap is held by a restore while it puts one state in the place of another, and by others
	// while they begin to read. Pebble takes the old tables out a moment before the new ones are
	// visible: who begins in between would find no row at all.
	swap *sync.RWMutex
}

func openDatabase(db *pebble.DB) database { return database{db, new(sync.RWMutex)} }

// iterate begins to read: what it sees stays as it is.
func (d database) iterate(o *pebble.IterOptions) (*pebble.Iterator, error) {
	d.swap.RLock()
	defer d.swap.RUnlock()
	return d.db.NewIter(o)
}

// snapshot begins to read rows that stay as they are until it is closed.
func (d database) snapshot() *pebble.Snapshot {
	d.swap.RLock()
	defer d.swap.RUnlock()
	return d.db.NewSnapshot()
}

// replace has tables take the place of all rows. Reads that begin meanwhile wait for it.
func (d database) replace(tables []string) error {
	d.swap.Lock()
	defer d.swap.Unlock()
	_, err := d.db.IngestAndExcise(context.Background(), tables, nil, nil, pebble.KeyRange{Start: []byte{}, End: beyondRows})
	return err
}

// get reads one row; nil if there is none.
func (d database) get(row []byte) ([]byte, error) {
	d.swap.RLock()
	v, closer, err := d.db.Get(row)
	d.swap.RUnlock()
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// find reads one row of a table that is looked up with names from outside. It
// asks the filters of the lowest level too, which Get leaves out: after a
// restart nearly everything is there, and an unknown name costs no block.
func (d database) find(row []byte, use func(value []byte) error) (err error) {
	it, err := d.iterate(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.SeekPrefixGE(row) {
		return it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	return use(v)
}

// scan calls use for all rows that begin with prefix, in order. The slices are
// valid during the call only.
func (d database) scan(prefix []byte, use func(row, value []byte) error) (err error) {
	return d.scanRange(prefix, prefixEnd(prefix), use)
}

func (d database) scanRange(from, to []byte, use func(row, value []byte) error) (err error) {
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	it, err := d.iterate(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := use(it.Key(), it.Value()); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
	}
	return it.Error()
}

// errEnough ends a scan early, without a fault.
var errEnough = errors.New("enough")
