package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
)

// Erasure selects what an account's erasure removes beyond its events, usage and failed
// requests, which name it. It is asked for each row, by the caller's goroutine.
type Erasure struct {
	Account store.AccountID
	// Key reports whether the last use and the habit of a key go: of a key of the account, or
	// of a key that is gone.
	Key func(store.KeyID) bool
	// Note reports whether a finding goes.
	Note func([]byte) bool
}

// eraseBatch bounds the deletions that are held in memory, in bytes.
const eraseBatch = 1 << 20

// Erase removes what this node keeps about an account up to now, and the data that was set
// aside because it was damaged: nobody can look into that. The account's chain notes the
// time. What was removed may be on the disk until [Compact].
func Erase(l *Local, e Erasure) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	err := l.ask(turn{erase: e.Account, sync: true, done: make(chan error, 1)})
	if err == nil {
		l.last.drop(e.Key)
		err = e.rows(l)
	}
	if err == nil {
		err = l.dir.removeDamaged()
	}
	if err != nil {
		return fmt.Errorf("erase the data of %s: %w", e.Account, err)
	}
	return nil
}

// ErrHeld is the answer of [Compact], and of the other databases, while a reader holds what was removed.
var ErrHeld = disk.ErrHeld

// Compact takes what was removed from the disk, or fails with [ErrHeld].
func Compact(ctx context.Context, l *Local) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	p := disk.Purged{DB: l.db, Guard: l.guard, FS: l.cfg.FS, Dir: l.cfg.Dir, From: []byte{0}, To: []byte{0xff}}
	if err := disk.Purge(ctx, &p); err != nil {
		return fmt.Errorf("compact the node's own data: %w", err)
	}
	return nil
}

// eraseEvents removes an account's events, all of which are sealed first.
func eraseEvents(w *writer, account store.AccountID) error {
	if _, err := w.sealAll(); err != nil {
		return err
	}
	for _, of := range ownersOfAccount(account) {
		if err := eraseEventsOf(w, of); err != nil {
			return err
		}
	}
	return w.commit(0)
}

func eraseEventsOf(w *writer, of owner) error {
	oldest, some := w.oldest[of]
	a := w.chains.of[of]
	if !some || a == nil {
		return nil
	}
	end := bucketOf(max(nanos(w.l.now()), uint64(a.now.Time)*1e6)) + 1
	if err := w.expireAccount(of, oldest, end); err != nil {
		return err
	}
	// Later events of the newest bucket have a count and a place of their own.
	return errors.Join(w.forget(of, end), w.setOldest(of, end-1), w.gone(of, uint64(a.now.Time)*1e6))
}

// rows removes the rows of usage and failures, and those that e selects.
func (e *Erasure) rows(l *Local) error {
	b := l.db.NewBatch()
	defer func() { b.Close() }()
	remove := func(from, to []byte) error {
		if err := b.DeleteRange(from, to, nil); err != nil || b.Len() < eraseBatch {
			return err
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			return err
		}
		b = l.db.NewBatch()
		return nil
	}
	for _, s := range steps {
		for _, table := range []byte{rowUsage, rowTotal} {
			if err := e.eachSlot(l, []byte{table, s.code}, remove); err != nil {
				return err
			}
		}
	}
	for _, table := range []byte{rowFailure, rowMetered} {
		if err := e.eachSlot(l, []byte{table}, remove); err != nil {
			return err
		}
	}
	pick := func(table byte, goes func(row, value []byte) bool) error {
		return eachRow(l, table, func(row, value []byte) error {
			if !goes(row, value) {
				return nil
			}
			return remove(slices.Clone(row), append(slices.Clone(row), 0))
		})
	}
	key := func(row, _ []byte) bool { return e.Key(store.KeyID(row[1:])) }
	asideEnd := []byte{asideRow[0], asideRow[1] + 1}
	err := errors.Join(remove(asideRow, asideEnd), // nobody can tell of which account they are
		pick(rowLast, key), pick(rowHabit, key), pick(rowNote, func(_, value []byte) bool { return e.Note(value) }))
	if err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// eachSlot calls use with the range of the account's rows in each slot of a table: four
// bytes after its prefix, which the account follows.
func (e *Erasure) eachSlot(l *Local, table []byte, use func(from, to []byte) error) error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: table, UpperBound: append(slices.Clone(table[:len(table)-1]), table[len(table)-1]+1)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		slot := slices.Clone(it.Key()[:len(table)+4])
		from := appendName(slices.Clone(slot), e.Account)
		if it.SeekGE(from) && bytes.HasPrefix(it.Key(), from) {
			to := slices.Clone(from)
			to[len(to)-1]++ // of a name, or its length 0: never 0xff
			if err := use(from, to); err != nil {
				return errors.Join(err, it.Close())
			}
		}
		n := binary.BigEndian.Uint32(slot[len(table):])
		if n == ^uint32(0) {
			break
		}
		ok = it.SeekGE(binary.BigEndian.AppendUint32(slices.Clone(table), n+1))
	}
	return errors.Join(it.Error(), it.Close())
}

func eachRow(l *Local, table byte, use func(row, value []byte) error) error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := use(it.Key(), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// drop forgets the last uses of keys.
func (l *lastUses) drop(goes func(store.KeyID) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range []map[store.KeyID]*recentUse{l.young, l.old} {
		for id := range g {
			if goes(id) {
				delete(g, id)
			}
		}
	}
}

// removeDamaged removes all directories that were set aside.
func (d *directory) removeDamaged() error {
	parent := d.fs.PathDir(d.path)
	names, err := d.fs.List(parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, d.fs.PathBase(d.path)+damagedInfix) {
			if err := d.fs.RemoveAll(d.fs.PathJoin(parent, name)); err != nil {
				return fmt.Errorf("remove damaged data: %w", err)
			}
		}
	}
	return nil
}
