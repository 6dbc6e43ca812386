package quota

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// Marks is the part of this node's own storage that [Levels] uses; *local.Local is
// one.
// A mark that was never set, or was set to nothing, is empty.
type Marks interface {
	Mark(name string) ([]byte, error)
	SetMark(name string, value []byte, sync bool) error
}

// Levels carries the minute buckets over a clean stop: those in use are written
// as one mark, and taken back, once, by the next process.
//
// There is no mark while the process runs. One written every second would tell
// when the former process was last seen alive, but not that it admitted nothing
// afterwards, and a bucket refilled from that moment would hold tokens that were
// spent already. After a crash the only sure moment is this process's own start,
// under the data directory's lock. A different boot id proves no more: a volume
// may have moved here from a machine that ran until just now.
type Levels struct {
	Marks  Marks
	Ledger Ledger
	Table  *limiter.Buckets // of POST /v1/ratelimit
	Logger *slog.Logger
	// Fresh says that this process made the state: nothing was ever charged
	// against it, so every bucket begins full.
	Fresh bool

	since int64 // set by Resume, once, before anything reads it
}

// LevelsMark is the name of the mark.
const LevelsMark = "limiter-levels"

const levelsVersion = 1

// SinceForever is the answer of [Levels.Resume] after clean stops only, and in the
// process that made the state: so long ago that every bucket has refilled, and
// not so long that a difference overflows.
const SinceForever = -1 << 62

// Resume takes back the levels that a clean stop left, and returns the moment, on the clock
// of now, since when this process alone has charged buckets; limiter.Ask.Refilled
// is the time since then. The mark is gone from the disk before a level is used,
// since a later crash must not find it again: an error means that it could not
// be removed, and that the node must not serve.
//
// Call it with the data directory locked and the accounts loaded, before the
// first request.
func (l *Levels) Resume(now int64) (since int64, err error) {
	l.since = now
	p, err := l.Marks.Mark(LevelsMark)
	if err != nil {
		return 0, fmt.Errorf("read the limiter's mark: %w", err)
	}
	if len(p) == 0 {
		if l.Fresh {
			l.since = SinceForever
		}
		return l.since, nil
	}
	if err := l.Marks.SetMark(LevelsMark, nil, true); err != nil {
		return 0, fmt.Errorf("remove the limiter's mark: %w", err)
	}
	since, err = l.restore(p, now)
	if err != nil {
		l.Logger.Warn("the limiter's levels cannot be read; buckets begin empty, as after a crash", "error", err)
		return now, nil
	}
	l.since = since
	return since, nil
}

// Save writes the mark. It is the last thing before the storage closes, after
// the last request: a charge after it would be forgotten.
//
// A bucket that this process never touched is not in it, and is known to have
// refilled only since the moment that Resume answered; so that moment goes along, and a crash
// before this process is not forgotten by stopping it cleanly.
//
// The form: version, boot id, the clock's now, since when; the table's export;
// then for each meter in use its account, key type and export, and an empty
// account as the end. Strings are length and bytes, numbers varints.
func (l *Levels) Save(now int64) error {
	p := []byte{levelsVersion}
	p = pack.Append(p, clock.BootID())
	p = binary.AppendVarint(p, now)
	p = binary.AppendVarint(p, l.since)
	p = pack.Append(p, l.Table.Export(now, nil))
	var space []byte
	meters(l.Ledger, func(a store.AccountID, t store.KeyType, m *limiter.Meter) {
		if space = m.Export(now, space[:0]); len(space) > 0 {
			p = pack.Append(p, a)
			p = append(p, byte(t))
			p = pack.Append(p, space)
		}
	})
	p = pack.Append(p, "")
	if err := l.Marks.SetMark(LevelsMark, p, true); err != nil {
		return fmt.Errorf("write the limiter's mark: %w", err)
	}
	return nil
}

var errLevels = errors.New("cut short or of another version")

func (l *Levels) restore(p []byte, now int64) (since int64, err error) {
	r := pack.NewReader(p)
	r.Version(levelsVersion)
	boot, then, since := r.Text(), r.Varint(), r.Varint()
	if r.Bad() || since > then {
		return 0, errLevels
	}
	// Between boots, or where the boot cannot be told, the clock started again and
	// the time between the processes is unknown.
	gap := int64(0)
	if id := clock.BootID(); id != "" && id == string(boot) {
		gap = max(now-then, 0)
	}
	if since != SinceForever {
		since = now - gap - (then - since)
	}
	table := r.Text()
	if r.Bad() {
		return 0, errLevels
	}
	if len(table) > 0 {
		if err := l.Table.Import(table, now, gap); err != nil {
			return 0, err
		}
	}
	for {
		account := r.Text()
		if len(account) == 0 && r.Err() == nil {
			return since, nil
		}
		t, export := store.KeyType(r.Byte()), r.Text()
		if r.Bad() {
			return 0, errLevels
		}
		cell := l.Ledger.Cell(store.AccountID(account))
		if cell == nil {
			continue // deleted by an entry applied since
		}
		if int(t) >= len(cell.Meters) || cell.Meters[t] == nil {
			return 0, errLevels
		}
		if err := cell.Meters[t].Import(export, now, gap); err != nil {
			return 0, fmt.Errorf("account %s: %w", account, err)
		}
	}
}
