package local

import (
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// mergerName is on disk: a database opens only with the merger it was made with.
const mergerName = "perfgate.local.1"

// newMerger adds the counts of usage rows, and keeps the newest of a last use.
// Both are associative and commutative, so that operands may meet in any order
// and the writer never reads before it writes.
func newMerger() *pebble.Merger {
	return &pebble.Merger{Name: mergerName, Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		if len(key) > 0 && key[0] == rowLast {
			m := &newest{}
			return m, m.MergeNewer(value)
		}
		m := &sum{}
		return m, m.MergeNewer(value)
	}}
}

type sum struct{ t tally }

func (m *sum) MergeNewer(v []byte) error {
	t, err := parseTally(v)
	m.t.add(t)
	return err
}

func (m *sum) MergeOlder(v []byte) error { return m.MergeNewer(v) }

func (m *sum) Finish(bool) ([]byte, io.Closer, error) { return m.t.append(nil), nil, nil }

type newest struct{ v []byte }

// MergeNewer keeps v if it is later than the held value: values begin with their
// big-endian time, and equal times go by address.
func (m *newest) MergeNewer(v []byte) error {
	if len(v) < 8 {
		return errCorrupt
	}
	if string(v) > string(m.v) {
		m.v = append(m.v[:0], v...)
	}
	return nil
}

func (m *newest) MergeOlder(v []byte) error { return m.MergeNewer(v) }

func (m *newest) Finish(bool) ([]byte, io.Closer, error) { return m.v, nil, nil }
