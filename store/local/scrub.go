package local

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/store/disk"
)

// Figures of the scrub: all tables are read once after the start and once a day,
// at most scrubRate bytes of them a second.
const (
	scrubEvery = 24 * time.Hour
	scrubRate  = 32 << 20
)

// scrub compares all tables with their checksums, until stop closes. Damage is
// found otherwise only by a query or a compaction that happens to read it.
type scrub struct {
	l    *Local
	done chan struct{} // closed when run has ended
}

func (s *scrub) run() {
	defer close(s.done)
	wait := time.NewTimer(0)
	defer wait.Stop()
	var left []table
	for {
		select {
		case <-s.l.stop:
			return
		case <-wait.C:
		}
		if len(left) == 0 {
			left = s.tables()
		}
		if len(left) == 0 {
			wait.Reset(scrubEvery)
			continue
		}
		t := left[0]
		left = left[1:]
		s.check(t)
		if len(left) == 0 {
			wait.Reset(scrubEvery)
		} else {
			wait.Reset(time.Duration(t.size) * time.Second / scrubRate)
		}
	}
}

// table is a file of the database.
type table struct {
	name string
	size uint64
}

func (s *scrub) tables() (out []table) {
	l := s.l
	if l.enter() != nil {
		return nil
	}
	defer l.leave()
	levels, err := l.db.SSTables()
	if err != nil {
		l.log.Error("list the tables of this node's own data", "error", err)
	}
	for _, level := range levels {
		for _, t := range level {
			out = append(out, table{fmt.Sprintf("%06d.sst", uint64(t.FileNum)), t.Size})
		}
	}
	return out
}

// check compares one table with its checksums. One that a compaction removed
// meanwhile is no loss; Pebble notices the others that are missing.
func (s *scrub) check(t table) {
	l := s.l
	if l.enter() != nil {
		return
	}
	defer l.leave()
	err := disk.CheckTable(l.cfg.FS, l.cfg.FS.PathJoin(l.cfg.Dir, t.name), newMerger())
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
	case disk.Damaged(err), errors.Is(err, syscall.EIO):
		l.damage.hurt(fmt.Errorf("%w: a block of %s does not match its checksum", errDamaged, t.name))
	default:
		l.log.Error("check a table of this node's own data", "table", t.name, "error", err)
	}
}
