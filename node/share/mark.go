package share

import (
	"encoding/binary"
	"fmt"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/store/pack"
)

// Marks is the part of this node's own storage that keeps the shared limits from a clean
// stop to the next start. A mark that was never set, or was set to nothing, is empty.
type Marks interface {
	Mark(name string) ([]byte, error)
	SetMark(name string, value []byte, sync bool) error
}

// mark is the name of the mark. As with quota.LevelsMark, it is there only in between.
const mark = "limiter-shares"

const markVersion = 1

// Saved is what the last process of the node has left by a clean stop, by a clock that is
// later by Shift now. The zero value is nothing: buckets begin as after a crash.
type Saved struct {
	Pool  []byte
	Shift int64
}

// Take takes what the last stop has saved, once. An error without Saved means that the mark
// could not be removed, and that the node must not serve: the next process would find it
// again.
func Take(m Marks, now int64) (s Saved, err error) {
	p, err := m.Mark(mark)
	if err != nil {
		return s, fmt.Errorf("read the mark of the shared limits: %w", err)
	}
	if len(p) == 0 {
		return s, nil
	}
	if err := m.SetMark(mark, nil, true); err != nil {
		return s, fmt.Errorf("remove the mark of the shared limits: %w", err)
	}
	r := pack.NewReader(p)
	r.Version(markVersion)
	boot, then := r.Text(), r.Varint()
	if s.Pool = r.Rest(); r.Bad() {
		s.Pool = []byte{0} // New says that it is of no use
	}
	// Between boots of the machine the time that has passed is not known: none has.
	if id := clock.BootID(); id == "" || id != string(boot) || now < then {
		s.Shift = now - then
	}
	return s, nil
}

// Keep ends the sharing after Run, when no request can be charged any more, and saves what
// the next process of the node goes on with. It is called once, at a clean stop.
func (s *Sharing) Keep(m Marks) error {
	s.following.Lock()
	defer s.following.Unlock()
	s.kept = true
	now := s.conf.Now()
	saved, err := s.conf.Pool.Save(now)
	if err != nil || len(saved) == 0 {
		return err
	}
	p := append([]byte{markVersion}, pack.Append(nil, clock.BootID())...)
	return m.SetMark(mark, append(binary.AppendVarint(p, now), saved...), true)
}
