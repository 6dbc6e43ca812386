package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Marks is what [Levels] needs of this node's own storage; *local.Local is one.
// A mark that was never set, or was set to nothing, is empty.
type Marks interface {
	Mark(name string) ([]byte, error)
	SetMark(name string, value []byte, sync bool) error
}

// Levels carries the minute buckets over a clean stop: what is in use is written
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

	since int64 // what Resume answered
}

const (
	levelsMark    = "limiter-levels"
	levelsVersion = 1
)

// SinceForever is what [Levels.Resume] answers after clean stops only, and to the
// process that made the state: so long ago that every bucket has refilled, and
// not so long that a difference overflows.
const SinceForever = -1 << 62

// Resume takes back what a clean stop left and returns the moment, on the clock
// of now, since when this process alone has charged buckets; limiter.Ask.Refilled
// is the time since then. The mark is gone from the disk before a level is used,
// since a later crash must not find it again: an error means that it could not
// be removed, and that the node must not serve.
//
// Call it with the data directory locked and the accounts loaded, before the
// first request.
func (l *Levels) Resume(now int64) (since int64, err error) {
	l.since = now
	p, err := l.Marks.Mark(levelsMark)
	if err != nil {
		return 0, fmt.Errorf("read the limiter's mark: %w", err)
	}
	if len(p) == 0 {
		if l.Fresh {
			l.since = SinceForever
		}
		return l.since, nil
	}
	if err := l.Marks.SetMark(levelsMark, nil, true); err != nil {
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
// the last request: what is charged behind it would be forgotten.
//
// A bucket that this process never touched is not in it, and is known to have
// refilled only since what Resume answered; so that goes along, and a crash
// before this process is not forgotten by stopping it cleanly.
//
// The form: version, boot id, the clock's now, since when; the table's export;
// then for each meter in use its account, key type and export, and an empty
// account as the end. Strings are length and bytes, numbers varints.
func (l *Levels) Save(now int64) error {
	p := []byte{levelsVersion}
	p = appendBytes(p, []byte(bootID()))
	p = binary.AppendVarint(p, now)
	p = binary.AppendVarint(p, l.since)
	p = appendBytes(p, l.Table.Export(now, nil))
	var space []byte
	meters(l.Ledger, func(a store.AccountID, t store.KeyType, m *limiter.Meter) {
		if space = m.Export(now, space[:0]); len(space) > 0 {
			p = appendBytes(p, []byte(a))
			p = append(p, byte(t))
			p = appendBytes(p, space)
		}
	})
	p = appendBytes(p, nil)
	if err := l.Marks.SetMark(levelsMark, p, true); err != nil {
		return fmt.Errorf("write the limiter's mark: %w", err)
	}
	return nil
}

var errLevels = errors.New("cut short or of another version")

func (l *Levels) restore(p []byte, now int64) (since int64, err error) {
	if p[0] != levelsVersion {
		return 0, errLevels
	}
	boot, p, ok := cutBytes(p[1:])
	then, n := binary.Varint(p)
	if !ok || n <= 0 {
		return 0, errLevels
	}
	p = p[n:]
	if since, n = binary.Varint(p); n <= 0 || since > then {
		return 0, errLevels
	}
	// Between boots, or where the boot cannot be told, the clock began anew and
	// the time between the processes is unknown.
	gap := int64(0)
	if id := bootID(); id != "" && id == string(boot) {
		gap = max(now-then, 0)
	}
	if since != SinceForever {
		since = now - gap - (then - since)
	}
	table, p, ok := cutBytes(p[n:])
	if !ok {
		return 0, errLevels
	}
	if len(table) > 0 {
		if err := l.Table.Import(table, now, gap); err != nil {
			return 0, err
		}
	}
	for {
		var account, export []byte
		switch account, p, ok = cutBytes(p); {
		case ok && len(account) == 0 && len(p) == 0:
			return since, nil
		case !ok || len(p) == 0:
			return 0, errLevels
		}
		t := store.KeyType(p[0])
		if export, p, ok = cutBytes(p[1:]); !ok {
			return 0, errLevels
		}
		cell := l.Ledger.Cell(store.AccountID(account))
		if cell == nil {
			continue // deleted by what the log applied since
		}
		if int(t) >= len(cell.Meters) || cell.Meters[t] == nil {
			return 0, errLevels
		}
		if err := cell.Meters[t].Import(export, now, gap); err != nil {
			return 0, fmt.Errorf("account %s: %w", account, err)
		}
	}
}

func appendBytes(p, b []byte) []byte {
	p = binary.AppendUvarint(p, uint64(len(b)))
	return append(p, b...)
}

func cutBytes(p []byte) (b, rest []byte, ok bool) {
	n, w := binary.Uvarint(p)
	if w <= 0 || n > uint64(len(p)-w) {
		return nil, nil, false
	}
	return p[w:][:n], p[w:][n:], true
}
