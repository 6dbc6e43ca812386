package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// pending is the rows as a batch leaves them: those committed before it, and those
// that its commands have written so far. A look-up sees both. A scan sees the
// committed ones only, so a command that scans commits the earlier ones first.
//
// The first fault of the database stays in err; look-ups then find nothing, and the
// batch is thrown away.
type pending struct {
	committed database
	batch     *pebble.Batch
	it        *pebble.Iterator  // over the rows committed when it was made; nil until needed
	over      map[string][]byte // rows written since; nil means deleted
	err       error
	buf       []byte // for one row
}

func newPending(d database) pending {
	return pending{committed: d, batch: d.db.NewBatch(), over: make(map[string][]byte)}
}

// close throws away the rows that were not committed.
func (p *pending) close() error {
	err := p.closeIter()
	return errors.Join(err, p.batch.Close())
}

func (p *pending) closeIter() error {
	if p.it == nil {
		return nil
	}
	it := p.it
	p.it = nil
	return it.Close()
}

// renew begins the next batch after this one was committed.
func (p *pending) renew() error {
	if err := p.batch.Close(); err != nil {
		return err
	}
	p.batch = p.committed.db.NewBatch()
	clear(p.over)
	return nil
}

// fault keeps the first fault of the database.
func (p *pending) fault(err error) {
	if p.err == nil {
		p.err = err
	}
}

// get reads a row; nil if there is none. The slice is valid until the next call.
func (p *pending) get(row []byte) []byte {
	if v, ok := p.over[string(row)]; ok {
		return v
	}
	if p.err != nil {
		return nil
	}
	if p.it == nil {
		it, err := p.committed.iterate(&pebble.IterOptions{UseL6Filters: true})
		if err != nil {
			p.fault(err)
			return nil
		}
		p.it = it
	}
	if !p.it.SeekPrefixGE(row) {
		if err := p.it.Error(); err != nil {
			p.fault(err)
		}
		return nil
	}
	v, err := p.it.ValueAndErr()
	if err != nil {
		p.fault(err)
		return nil
	}
	return v
}

// put writes a row that later commands of the batch may get.
func (p *pending) put(row, value []byte) {
	p.over[string(row)] = append(make([]byte, 0, len(value)), value...)
	p.append(row, value)
}

// append writes a row that is only ever scanned.
func (p *pending) append(row, value []byte) {
	if err := p.batch.Set(row, value, nil); err != nil {
		p.fault(err)
	}
}

func (p *pending) delete(row []byte) {
	p.over[string(row)] = nil
	if err := p.batch.Delete(row, nil); err != nil {
		p.fault(err)
	}
}

// deleteRange deletes rows that are only ever scanned.
func (p *pending) deleteRange(from, to []byte) {
	if err := p.batch.DeleteRange(from, to, nil); err != nil {
		p.fault(err)
	}
}

// scan is scanRange of the committed rows, with faults kept in p.
func (p *pending) scan(from, to []byte, use func(row, value []byte) error) {
	if p.err == nil {
		p.err = p.committed.scanRange(from, to, use)
	}
}

// json encodes a row that is not on the request path. Octets that are no UTF-8 become
// U+FFFD: they come from strangers, and an entry that cannot be applied ends every node.
func (p *pending) json(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		p.fault(fmt.Errorf("encode a row: %w", err))
	}
	return b
}
