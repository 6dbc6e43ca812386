package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/node/replica"
)

// clocks compares this node's wall clock with the median of the members', of which the
// leader knows all and each renewal brings the result. A node that is off by more than
// [replica.WrongClock] makes no changes, asks for no grants, signs nothing and leads no
// longer than it takes another to take over.
//
// The median is kept against this node's monotonic clock: a wall clock that jumps is
// noticed at once, without a message, and by a node that has just become the leader.
type clocks struct {
	*node
	truth atomic.Pointer[median] // nil while unknown: nobody is judged then
}

// median is the middle of the members' wall clocks, in nanoseconds ahead of this node's
// monotonic clock: the two in the middle, or one twice. Of two nodes that differ nobody
// knows which is wrong, so that only a node outside of both is.
type median struct{ low, high int64 }

// outside is by how much a wall clock lies outside of the median.
func (m median) outside(ahead int64) time.Duration {
	switch {
	case ahead > m.high:
		return time.Duration(ahead - m.high)
	case ahead < m.low:
		return time.Duration(ahead - m.low)
	}
	return 0
}

// off is by how much this node's wall clock is ahead of the members' median, negative
// if it is behind; 0 while that is not known.
func (k *clocks) off() time.Duration {
	m := k.truth.Load()
	if m == nil {
		return 0
	}
	wall, mono := k.Clock.Read()
	return m.outside(wall.UnixNano() - mono)
}

// fault is nil unless this node's clock is wrong.
func (k *clocks) fault() error {
	if d := k.off(); d.Abs() > replica.WrongClock {
		return fmt.Errorf("the node's clock is %v from the other nodes'; set it by NTP", d.Round(time.Second))
	}
	return nil
}

// learn takes over the median from the leader's answer to a renewal that was sent at
// sent, by this node's monotonic clock. It was somewhere between sent and now there.
func (k *clocks) learn(a *renewed, sent int64) {
	if a.ClockLow.IsZero() || a.ClockHigh.IsZero() {
		return // an older version
	}
	k.truth.Store(&median{a.ClockLow.UnixNano() - k.Clock.Now(), a.ClockHigh.UnixNano() - sent})
}

// judge finds the median of the members' clocks from their reports to this leader. A
// report of a member that is gone counts: its clock told the time all the same. Without
// a majority of the servers the median of before stays.
func (k *clocks) judge(t *reports) {
	k.judgeOf(k.others(), t)
	if w := k.disagreement(t); w != "" {
		k.troubles.say("clocks", "the nodes' clocks differ", "reason", w)
	} else {
		k.troubles.over("clocks")
	}
}

// others are the ids of the other servers.
func (k *clocks) others() (ids []string) {
	for _, s := range k.otherServers() {
		ids = append(ids, string(s.ID))
	}
	return ids
}

// judgeOf is judge among these other servers.
func (k *clocks) judgeOf(others []string, t *reports) {
	wall, mono := k.Clock.Read()
	ahead := []int64{wall.UnixNano() - mono}
	for _, id := range others {
		if f, heard := t.of(id); heard {
			ahead = append(ahead, f.ahead())
		}
	}
	if 2*len(ahead) <= len(others)+1 {
		return
	}
	slices.Sort(ahead)
	k.truth.Store(&median{ahead[(len(ahead)-1)/2], ahead[len(ahead)/2]})
}

// ahead is how far the reporting node's wall clock was ahead of the leader's monotonic
// clock: less by the time that the report was under way.
func (f *selfReport) ahead() int64 { return f.Wall.UnixNano() - f.seen }

// mark puts the median into the answer to a renewal.
func (k *clocks) mark(a *renewed) {
	if m := k.truth.Load(); m != nil {
		mono := k.Clock.Now()
		a.ClockLow, a.ClockHigh = time.Unix(0, m.low+mono).UTC(), time.Unix(0, m.high+mono).UTC()
	}
}

// of is how far a node's clock is outside of the median by its report to this leader.
func (k *clocks) of(f *selfReport) time.Duration {
	m := k.truth.Load()
	if m == nil || f.seen == 0 {
		return 0
	}
	return m.outside(f.ahead())
}

// trouble tells of a node whose clock is wrong.
func (k *clocks) trouble(f *selfReport) []string {
	if d := k.of(f); d.Abs() > replica.WrongClock {
		return []string{fmt.Sprintf("%s: its clock is %v from the other nodes'; it changes nothing until it is set right", f.Name, d.Round(time.Second))}
	}
	return nil
}

// disagreement tells of an even number of nodes of which one half has another time than
// the other, by more than a wrong clock is off; "" if there is none. Nobody is judged then,
// for either half may be the one that is right.
func (k *clocks) disagreement(t *reports) string { return k.disagreementOf(k.others(), t) }

// disagreementOf is disagreement with these other servers.
func (k *clocks) disagreementOf(others []string, t *reports) string {
	m := k.truth.Load()
	if m == nil || time.Duration(m.high-m.low) <= replica.WrongClock {
		return ""
	}
	var behind, ahead []string
	add := func(name string, at int64) {
		if at < m.low+(m.high-m.low)/2 {
			behind = append(behind, name)
		} else {
			ahead = append(ahead, name)
		}
	}
	wall, mono := k.Clock.Read()
	add(k.Name, wall.UnixNano()-mono)
	for _, id := range others {
		if f, heard := t.of(id); heard {
			add(f.Name, f.ahead())
		}
	}
	slices.Sort(behind)
	slices.Sort(ahead)
	return fmt.Sprintf("%s: the clock is %v ahead of %s, and nobody knows which one is right; set both by NTP",
		strings.Join(ahead, ", "), time.Duration(m.high-m.low).Round(time.Second), strings.Join(behind, ", "))
}
