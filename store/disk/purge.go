package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrHeld is the answer of [Purge] while something keeps removed rows on the disk: a reader that
// began before, or a file that cannot be removed. It is to be tried again later.
var ErrHeld = errors.New("rows that were removed are still on the disk")

// Purge waits at most purgeWait for readers, and as long for files. It looks after purgeLook, and
// then less and less often, down to each purgeSlow: a look takes Pebble's main lock.
const (
	purgeWait = time.Minute
	purgeLook = 10 * time.Millisecond
	purgeSlow = time.Second
)

// Purged is a database that [Purge] removes rows from. All rows are from From up to To, which
// excludes it, and the key {0} is none. Its Cleaner must be [Cleaner].
type Purged struct {
	DB       *pebble.DB
	Guard    *Guard
	FS       vfs.FS
	Dir      string
	From, To []byte

	wait time.Duration // for tests; 0 is purgeWait
}

// Purge returns when no file of the database holds a row any more that was removed before the call.
//
// A compaction alone does not do this. It keeps rows that an older snapshot still sees, and once they
// are in the lowest level, no later compaction removes them. Its old files are removed in the background,
// and a file that an iterator reads is removed when the iterator is closed. So Purge first waits for the
// older snapshots, then compacts, writes the tables again that kept removals, and waits until the old
// files are gone. The manifest still has the first and last keys of old tables, until Pebble begins another.
func Purge(ctx context.Context, p *Purged) error {
	mark, err := p.touch([]byte{0}, []byte{0, 0})
	if err != nil {
		return err
	}
	err = p.await(ctx, "a reader that began before the removal goes on", func() (bool, error) {
		open := p.DB.Metrics().Snapshots
		return open.Count == 0 || open.EarliestSeqNum > mark, nil
	})
	if err != nil {
		return err
	}
	logs, err := p.files(".log")
	if err != nil {
		return err
	}
	if err := p.compact(ctx, p.From, p.To); err != nil {
		return err
	}
	if err := p.rewriteKept(ctx, mark); err != nil {
		return err
	}
	return p.awaitRemoval(ctx, logs)
}

func (p *Purged) compact(ctx context.Context, from, to []byte) error {
	return errors.Join(p.DB.Flush(), p.DB.Compact(ctx, from, to, false))
}

// touch commits a removal of range keys, of which there are none, and returns its number. A compaction
// of its range writes all tables there again, also those of the lowest level.
func (p *Purged) touch(from, to []byte) (number pebble.SeqNum, err error) {
	b := p.DB.NewBatch()
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.RangeKeyDelete(from, to, nil); err != nil {
		return 0, err
	}
	if err := p.Guard.Commit(b, pebble.Sync); err != nil {
		return 0, err
	}
	return b.SeqNum(), nil
}

// rewriteKept writes those tables again that have removals from before the mark, or rows that a
// snapshot kept beside newer ones. All such removals are in the lowest level now, where a
// compaction keeps none unless a snapshot needed the rows.
// One table after the other takes less space than all at once.
func (p *Purged) rewriteKept(ctx context.Context, mark pebble.SeqNum) error {
	levels, err := p.DB.SSTables(pebble.WithProperties())
	if err != nil {
		return err
	}
	for _, t := range slices.Concat(levels...) {
		if t.SmallestSeqNum > mark || t.Properties.NumDeletions+t.Properties.SnapshotPinnedKeys == 0 {
			continue
		}
		from, to := t.Smallest.UserKey, append(slices.Clone(t.Largest.UserKey), 0)
		if _, err := p.touch(from, to); err != nil {
			return err
		}
		if err := p.compact(ctx, from, to); err != nil {
			return err
		}
	}
	return nil
}

// awaitRemoval waits until the tables that are no longer part of the database are gone, and
// the logs, which are from before. The removal is durable then.
func (p *Purged) awaitRemoval(ctx context.Context, logs []string) error {
	left, err := p.files(".sst", ".blob") // of the latter no instance has any: it would never be a part
	if err != nil {
		return err
	}
	left = append(left, logs...)
	err = p.await(ctx, "a reader has files open that are to be removed, or they cannot be removed", func() (bool, error) {
		parts, err := p.parts()
		if err != nil {
			return false, err
		}
		left = slices.DeleteFunc(left, func(name string) bool {
			if parts[name] { // perhaps since the last look
				return true
			}
			_, no := p.FS.Stat(p.FS.PathJoin(p.Dir, name))
			return errors.Is(no, fs.ErrNotExist)
		})
		return len(left) == 0, nil
	})
	if err != nil {
		return err
	}
	d, err := p.FS.OpenDir(p.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// files lists the files of the directory whose names end with one of suffixes.
func (p *Purged) files(suffixes ...string) ([]string, error) {
	names, err := p.FS.List(p.Dir)
	return slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
	}), err
}

// parts are the names of the tables of the database.
func (p *Purged) parts() (map[string]bool, error) {
	levels, err := p.DB.SSTables()
	names := map[string]bool{}
	for _, t := range slices.Concat(levels...) {
		names[fmt.Sprintf("%06d.sst", uint64(t.BackingSSTNum))] = true
	}
	return names, err
}

// await polls until done, and answers [ErrHeld] with the reason after purgeWait.
func (p *Purged) await(ctx context.Context, reason string, done func() (bool, error)) error {
	pause := purgeLook
	for end := time.Now().Add(cmp.Or(p.wait, purgeWait)); ; pause = min(2*pause, purgeSlow) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %s", ErrHeld, reason)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
