package local

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// maxAsideShown bounds the bytes of a damaged row in the log.
const maxAsideShown = 200

// asideRow begins the rows of events that are damaged, at most one of each event. They are not
// sent, and go with the next erasure.
var asideRow = []byte{rowOwn, 'F'}

// Damaged is how many rows were left out because they are damaged.
func (m *Meter) Damaged() uint64 { return m.damaged }

// leaveOut counts a damaged row and says which it is.
func (m *Meter) leaveOut(text string, row, value []byte) {
	m.damaged++
	m.l.log.Error(text, "row", hex.EncodeToString(row), "value", hex.EncodeToString(value[:min(len(value), maxAsideShown)]))
}

// aside keeps an event that cannot be read where it holds up no other.
func (m *Meter) aside(row, value []byte) error {
	b := m.l.db.NewBatch()
	defer b.Close()
	err := errors.Join(b.Set(append(append([]byte{}, asideRow...), row...), value, nil), b.Delete(row, nil))
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("set a damaged event of usage aside: %w", err)
	}
	m.leaveOut("an event of usage is damaged; it was set aside and is not sent: count it by hand", row, value)
	return nil
}

// firstMetered is the first minute of which an event was made; the present one if none is known.
func (m *Meter) firstMetered() (v []byte, err error) {
	v = binary.BigEndian.AppendUint32(nil, minuteOf(nanos(m.l.now())))
	it, err := m.l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowMetered}, UpperBound: []byte{rowMetered + 1}})
	if err != nil {
		return nil, err
	}
	if it.First() && len(it.Key()) >= 5 {
		v = append(v[:0], it.Key()[1:5]...)
	}
	return v, errors.Join(it.Error(), it.Close())
}
