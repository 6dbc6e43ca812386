package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
)

// asideAgain is how long a leader with a bad disk leads on after it has found no other
// node that takes over: each attempt keeps changes waiting for a moment.
const asideAgain = 5 * time.Second

// badDisk is nil unless this node's disk keeps it from leading well: as the leader it
// refuses all changes while the disk is full, and nobody joins while its state is damaged.
func (l *leadership) badDisk() error {
	if reason := l.r.Disk().Reason(); reason != "" {
		return errors.New(reason)
	}
	return replica.RottenState(l.r)
}

// relieve hands the leadership over because of this node's bad disk, if there is a voter
// that can lead, and reports whether it did. Now and then is enough: next says when.
func (l *leadership) relieve(ctx context.Context, next *int64) bool {
	reason := l.badDisk()
	if now := l.Clock.Now(); reason == nil || now < *next {
		return false
	}
	*next = l.Clock.Now() + int64(asideAgain)
	if err := l.stepAside(ctx); err != nil {
		l.troubles.say("aside", "this node leads on although it should not", "reason", reason, "error", err)
		return false
	}
	l.troubles.over("aside")
	l.log.Warn("this node has handed the leadership over", "reason", reason)
	return true
}

// stepAside hands the leadership to a voter whose clock is right and whose disk has space.
func (l *leadership) stepAside(ctx context.Context) error {
	var faults []error
	for _, s := range l.otherServers() {
		f, heard := l.reports.of(string(s.ID))
		if s.Suffrage != raft.Voter || !heard || f.Full || f.Rotten || l.clocks.of(&f).Abs() > replica.WrongClock {
			continue
		}
		err := l.transfer(ctx, l.nameOf(string(s.ID)), false)
		if err == nil {
			return nil
		}
		faults = append(faults, err)
	}
	return errors.Join(append(faults, errors.New("no voter with a right clock and a good disk has taken over"))...)
}
