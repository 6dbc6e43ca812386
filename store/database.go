package store

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// database reads rows as they are committed. It holds no state of its own and may
// be used from any goroutine.
type database struct{ db *pebble.DB }

// get reads one row; nil if there is none.
func (d database) get(row []byte) ([]byte, error) {
	v, closer, err := d.db.Get(row)
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
	it, err := d.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
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
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
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
