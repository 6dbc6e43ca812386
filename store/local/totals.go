package local

import (
	"encoding/binary"
	"errors"
)

// totals writes usage and the spill of the request path.
func (w *writer) totals() error {
	if err := w.rows(w.usage.rows); err != nil {
		return err
	}
	clear(w.usage.rows)
	if err := w.failed.save(w.batch); err != nil {
		return err
	}
	rows, last, lost := w.l.spill.drain()
	if err := w.rows(rows); err != nil {
		return err
	}
	for key, u := range last {
		w.l.last.note([]byte(key), nanos(u.At), u.IP, u.Country, w.saveUse)
	}
	if lost.zero() {
		return nil
	}
	w.l.log.Warn("audit events dropped: requests came faster than the disk takes them",
		"requests", lost.requests, "denials", lost.denials, "uncounted", lost.uncounted)
	return w.event(&entry{started: nanos(w.l.now()), value: lost.append(nil)})
}

// rows merges tallies into the minute, the hour and the day: all three in one
// batch, so that no crash tells them apart.
func (w *writer) rows(rows map[string]*tally) error {
	return errors.Join(w.merge(rowUsage, rows), w.merge(rowTotal, totalsOf(rows)))
}

// totalsOf sums rows over keys and environments: a question about an account of many keys
// then reads few rows.
func totalsOf(rows map[string]*tally) map[string]*tally {
	totals := make(map[string]*tally)
	var key []byte
	for row, t := range rows {
		r, ok := parseRow([]byte(row[4:]))
		if !ok {
			panic("BUG: a usage row does not parse")
		}
		key = appendRow(append(key[:0], row[:4]...), r.account, nil, nil, r.route, r.traits)
		if have := totals[string(key)]; have != nil {
			have.add(*t)
			continue
		}
		n := *t
		totals[string(key)] = &n
	}
	return totals
}

// merge writes tallies to the rows of a kind, of each step.
func (w *writer) merge(kind byte, rows map[string]*tally) error {
	for row, t := range rows {
		minute := binary.BigEndian.Uint32([]byte(row[:4]))
		if kind == rowUsage {
			w.l.touched.mark(minute)
		}
		w.value = t.append(w.value[:0])
		for _, s := range steps {
			w.key = append(w.key[:0], kind, s.code)
			w.key = binary.BigEndian.AppendUint32(w.key, minute/s.minutes)
			w.key = append(w.key, row[4:]...)
			if err := w.batch.Merge(w.key, w.value, nil); err != nil {
				return err
			}
		}
		if err := w.commit(batchBytes); err != nil {
			return err
		}
	}
	return nil
}
