package store

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// The sweeper removes rows that are too old: results of idempotent commands, events
// beyond their account's retention, months gone by, and the keys of deleted
// accounts. It runs inside apply, judged by cluster time (moment.now), so that every
// node removes the same and a wrong clock removes nothing. Its work in one round is bounded.
const (
	sweepEvery    = 10 * time.Second // of cluster time
	sweepAccounts = 64               // accounts examined for old events; 100,000 accounts take 4 h 20 min
	sweepEnding   = 16               // deleted accounts examined for old events
	sweepWebhooks = 16               // endpoints examined for old deliveries; 10,000 take 1 h 45 min
	sweepRows     = 512              // results or keys removed, and two more for each entry applied since
	sweepRowsMax  = 20_000
	monthsKept    = 3 // before the current one; more than any clock is off
	daysKept      = 3 // the same for counts by the day
	clockBack     = time.Hour
)

// sweeper removes old rows as part of a transaction.
type sweeper struct{ *txn }

// round removes some of them, if it is time. A clock that went back by more than an
// hour restarts the rhythm, or one that was years ahead would stop it for years.
func (t sweeper) round() {
	now := t.when.now()
	since := now.Sub(t.sweep.At)
	if since < sweepEvery && since > -clockBack {
		return
	}
	rows := int(min(sweepRows+2*(t.index-t.sweep.Index), sweepRowsMax))
	t.settle()
	t.sweepOnce(rows)
	t.sweepMonths()
	t.sweepAllEvents()
	t.sweepDeliveries(rows)
	t.sweepCauses(rows)
	t.sweepAccountsGone(rows)
	t.sweep.At, t.sweep.Index = now, t.index
	t.rows.append(sweepRow, packSweep(&t.sweep))
}

func (t sweeper) sweepOnce(rows int) {
	to := appendSortedTime([]byte{rowOnceAge}, t.when.now().Add(-OnceRetention))
	t.rows.scan([]byte{rowOnceAge}, to, func(row, _ []byte) error {
		if rows--; rows < 0 {
			return errEnough
		}
		row = slices.Clone(row)
		t.rows.delete(row)
		t.rows.delete(named(rowOnce, row[1+8:]))
		return nil
	})
}

func (t sweeper) sweepMonths() {
	t.sweepCounts(rowMonth, monthRows(max(0, Month(t.when.now())-monthsKept)))
	t.sweepCounts(rowDay, dayRows(max(0, Day(t.when.now())-daysKept)))
}

// sweepCounts removes the rows of table before to.
func (t sweeper) sweepCounts(table byte, to []byte) {
	t.rows.scan([]byte{table}, to, func(_, _ []byte) error {
		t.rows.deleteRange([]byte{table}, to)
		return errEnough
	})
}

// sweepAllEvents looks at the next accounts in order. One range deletion
// removes all of an account's old events, however many.
func (t sweeper) sweepAllEvents() {
	page, next := t.s.Accounts(t.sweep.Account, sweepAccounts) // settled: nothing is pending
	for _, a := range page {
		t.sweepEvents(a.ID, a.RetentionDays)
		if a.ID == DefaultAccount { // whose retention is that of the operators' log, too
			t.sweepEvents("", a.RetentionDays)
		}
	}
	t.sweep.Account = next
}

// sweepEvents removes an account's events that are older than days. Its chain notes the
// time, so that a proof can tell events that have expired from others that are missing.
func (t sweeper) sweepEvents(account AccountID, days int) {
	from, before := accountRows(rowEvent, account), t.when.now().AddDate(0, 0, -days)
	to := appendSortedTime(slices.Clone(from), before)
	some := false
	t.rows.scan(from, to, func(_, _ []byte) error {
		t.rows.deleteRange(from, to)
		some = true
		return errEnough
	})
	if l, ok := t.link(account); some && ok {
		l.keep(t.chain.heads)
		l.now.since = before.UnixMilli() + 1 // the millisecond that it falls into may be gone, too
		t.rows.put(named(rowLink, account), packLink(&l))
	}
}

// sweepAccountsGone removes the keys of deleted accounts, and then their events
// as they grow old, until nothing is left of them.
func (t sweeper) sweepAccountsGone(rows int) {
	gone := t.gone(rowDeleted, "", 1)
	for id, days := range gone {
		if t.sweepKeys(id, rows) < rows {
			t.rows.delete(named(rowDeleted, id))
			t.rows.put(named(rowEnding, id), packDays(days))
		}
	}
	gone = t.gone(rowEnding, t.sweep.Gone, sweepEnding)
	t.sweep.Gone = ""
	for id, days := range gone {
		t.sweepEvents(id, days)
		from := accountRows(rowEvent, id)
		left := false
		t.rows.scan(appendSortedTime(slices.Clone(from), t.when.now().AddDate(0, 0, -days)), prefixEnd(from), func(_, _ []byte) error {
			left = true
			return errEnough
		})
		if !left {
			t.rows.delete(named(rowEnding, id))
		}
		if len(gone) == sweepEnding {
			t.sweep.Gone = max(t.sweep.Gone, id)
		}
	}
}

// gone lists up to n deleted accounts of a table after the given one, with their
// retention in days. The caller treats each independently of the others.
func (t sweeper) gone(table byte, after AccountID, n int) map[AccountID]int {
	list := make(map[AccountID]int, n)
	t.rows.scan(append(named(table, after), 0), []byte{table + 1}, func(row, value []byte) error {
		if len(list) == n {
			return errEnough
		}
		days, err := unpackDays(value)
		list[AccountID(row[1:])] = days
		return err
	})
	return list
}

// packDays writes a deleted account's row: its retention.
func packDays(days int) []byte { return binary.AppendUvarint(nil, uint64(days)) }

func unpackDays(row []byte) (int, error) {
	u := unpack(string(row))
	days := u.Uvarint()
	return int(days), u.err()
}

// sweepKeys removes up to rows keys of a deleted account and counts them.
func (t sweeper) sweepKeys(account AccountID, rows int) (n int) {
	from := accountRows(rowKey, account)
	t.rows.scan(from, prefixEnd(from), func(row, value []byte) error {
		if n >= rows {
			return errEnough
		}
		n++
		k, err := unpackKey(value)
		if err != nil {
			return err
		}
		t.keys.remove(slices.Clone(row), k)
		return nil
	})
	return n
}

// timeOf is the time of Unix nanoseconds.
func timeOf(nano int64) time.Time { return time.Unix(0, nano).UTC() }

// sweepDeliveries removes finished deliveries beyond the bounds of the next endpoints in
// turn: cluster time says which, so that no place needs to be kept.
func (t sweeper) sweepDeliveries(rows int) {
	all := t.state.hooks()
	n := all.count()
	if n == 0 {
		return
	}
	first := int(t.when.now().Unix()/int64(sweepEvery/time.Second)) * sweepWebhooks % n
	i := 0
	for _, account := range slices.Sorted(maps.Keys(all)) {
		for _, w := range all[account] {
			if d := (i - first + n) % n; d < sweepWebhooks {
				rows -= t.sweepFinished(w.ID, rows)
			}
			i++
		}
	}
}

// sweepFinished removes up to rows finished deliveries of an endpoint and counts them.
func (t sweeper) sweepFinished(id WebhookID, rows int) (n int) {
	q := t.rows.queue(id)
	before := t.when.now().Add(-FinishedKept)
	t.rows.scan(deliveryRows(rowFinished, id), prefixEnd(deliveryRows(rowFinished, id)), func(row, value []byte) error {
		d, err := unpackDelivery(row, value)
		switch {
		case err != nil:
			return err
		case n >= rows || q.Finished <= MaxFinished && !d.Ended.Before(before):
			return errEnough
		}
		t.rows.delete(slices.Clone(row))
		q.Finished--
		n++
		return nil
	})
	if n > 0 {
		t.rows.putQueue(id, q)
	}
	return n
}
