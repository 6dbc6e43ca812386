package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/perfgate/perfgate/store/pack"
)

// Stamp is the leader's reading of its clocks when it proposed an entry. It stands
// before the command in the log; the zero stamp says that there is none.
type Stamp struct {
	Wall int64 // Unix nanoseconds
	Mono int64 // nanoseconds of a clock that counts suspend and is never set
}

// LevelOfStamp is the level of nodes that can read stamped entries. A leader stamps
// once all nodes of its cluster have it, and then always.
const LevelOfStamp = 3

// The wire form of a stamped entry: a version byte that no command has, both readings,
// and the command's own wire form.
const (
	stampVersion = 2
	stampSize    = 1 + 8 + 8
)

// Put returns the entry that carries s and the command with that wire form.
func (s Stamp) Put(wire []byte) []byte {
	b := make([]byte, 0, stampSize+len(wire))
	b = append(b, stampVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Wall))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Mono))
	return append(b, wire...)
}

// DecodeEntry reads the data of an entry of the log: a command, stamped or not.
func DecodeEntry(data []byte) (*Command, error) {
	var s Stamp
	if len(data) >= stampSize && data[0] == stampVersion {
		s = Stamp{int64(binary.BigEndian.Uint64(data[1:])), int64(binary.BigEndian.Uint64(data[9:]))}
		if s == (Stamp{}) {
			return nil, fmt.Errorf("%w (an empty stamp)", ErrUnknownCommand)
		}
		data = data[stampSize:]
	}
	c, err := DecodeCommand(data)
	if err == nil {
		c.Stamp = s
	}
	return c, err
}

// clock is cluster time, by which old rows are removed. It follows the leaders' wall
// clocks, since there is no other, but a wrong one must destroy nothing: while a leader
// is in office, cluster time goes on no faster than its monotonic clock. A wall clock
// that is further ahead (the cluster was down, or a clock was set) is believed when it
// has run steadily for clockTrust under one leader; cluster time then takes its
// reading. It never goes back.
//
// It is a pure function of the log: each stamped entry moves it by next.
type clock struct {
	now    int64  // cluster time in Unix nanoseconds; 0 before the first stamp
	term   uint64 // of the last stamp
	mono   int64  // newest monotonic reading in term
	offset int64  // wall minus monotonic reading when the wall clock was last set in term
	since  int64  // monotonic reading at that time
}

const (
	// clockTrust is how long a leader's wall clock must run steadily to be believed. It
	// is the shortest time for which anything is kept.
	clockTrust = OnceRetention
	// clockSteady is how far wall and monotonic clock may drift apart until the wall
	// clock counts as set.
	clockSteady = time.Minute
)

// next is the clock after an entry of term with stamp s.
func (c clock) next(term uint64, s Stamp) clock {
	n := clock{now: c.now, term: term, mono: s.Mono, offset: s.Wall - s.Mono, since: s.Mono}
	elapsed := int64(0) // nobody has measured the time between two leaders
	if term == c.term {
		n.mono = max(c.mono, s.Mono) // stamps of concurrent writes are not in order
		elapsed = n.mono - c.mono
		if d := n.offset - c.offset; d <= int64(clockSteady) && d >= -int64(clockSteady) {
			n.offset, n.since = c.offset, c.since
		}
	}
	limit := c.now + elapsed
	if c.now == 0 || n.mono-n.since >= int64(clockTrust) {
		limit = s.Wall
	}
	n.now = max(c.now, min(s.Wall, limit))
	return n
}

// moment is the time of the command that is applied, by each clock.
type moment struct {
	at    time.Time // the command's own, UTC: its proposer's wall clock
	stamp Stamp     // the leader's; zero if there is none
	clock clock     // moved by the stamp
}

// begin goes on to the next command. The first stamp of a state that was swept
// before, at sweptAt, begins where that was.
func (m *moment) begin(c *Command, term uint64, sweptAt time.Time) {
	m.at, m.stamp = c.At.UTC(), c.Stamp
	if m.stamp == (Stamp{}) {
		return
	}
	if m.clock.now == 0 && !sweptAt.IsZero() && unixNano(sweptAt) < m.stamp.Wall {
		m.clock.now = unixNano(sweptAt)
	}
	m.clock = m.clock.next(term, m.stamp)
}

// now is the time by which things are old: cluster time, or the leader's wall clock
// where that is behind. It is that of the command where nothing was ever stamped.
func (m *moment) now() time.Time {
	switch {
	case m.clock.now == 0:
		return m.at
	case m.stamp != (Stamp{}):
		return timeOf(min(m.clock.now, m.stamp.Wall))
	}
	return timeOf(m.clock.now)
}

// wall is the leader's wall clock, or the proposer's where the leader did not stamp.
func (m *moment) wall() time.Time {
	if m.stamp != (Stamp{}) {
		return timeOf(m.stamp.Wall)
	}
	return m.at
}

// keptFrom is the time from which a thing is kept: that of the command, unless this is
// so far before cluster time that the thing would be removed at once.
func (m *moment) keptFrom() time.Time {
	if c := timeOf(m.clock.now); m.clock.now != 0 && m.at.Before(c.AddDate(0, 0, -MinRetention)) {
		return c
	}
	return m.at
}

// ClusterTime is the time by which the state removes old rows; zero while no entry was
// ever stamped.
func (s *Store) ClusterTime() time.Time {
	if now := s.clusterTime.Load(); now != 0 {
		return timeOf(now)
	}
	return time.Time{}
}

func packClock(c *clock) []byte {
	b := pack.AppendTime(nil, timeOf(c.now))
	b = binary.AppendUvarint(b, c.term)
	b = binary.AppendVarint(b, c.mono)
	b = binary.AppendVarint(b, c.offset)
	return binary.AppendVarint(b, c.since)
}

func (d database) readClock() (clock, error) {
	row, err := d.get(clockRow)
	if row == nil || err != nil {
		return clock{}, err
	}
	u := unpack(string(row))
	c := clock{now: unixNano(u.Time()), term: u.Uvarint(), mono: u.Varint(), offset: u.Varint(), since: u.Varint()}
	if u.err() != nil {
		return clock{}, fmt.Errorf("read cluster time: %w", u.err())
	}
	return c, nil
}
