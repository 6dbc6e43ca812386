package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perfgate/perfgate/store"
)

// maxTries is how often an event that the receiver refuses alone is sent: about four minutes.
const maxTries = 10

// refusedError is an answer that tells of the batch, and not of the receiver's state.
type refusedError struct{ status int }

func (e *refusedError) Error() string {
	return fmt.Sprintf("the receiver answers %d: it refuses what it was sent", e.status)
}

// stream is one of the two orders of events that a sink follows.
type stream struct {
	limit  int       // events of the next batch, less than maxEvents after a refusal
	tries  int       // of the event that is refused alone
	oldest time.Time // of the events that were found and not taken; zero if there are none
}

// batch is what a sink read at once.
type batch struct {
	list []message
	next store.ChangePos
	more bool
}

// add appends an event, and reports whether the batch has room for another one.
func (s *Sink) add(b *batch, e *store.Event, size *int) bool {
	text := s.cfg.Append(nil, e)
	*size += len(text)
	b.list = append(b.list, message{
		text: text, time: e.Time, action: e.Action, outcome: e.Outcome,
		pos: store.ChangePos{EventPos: store.EventPos{Time: e.Time, ID: e.ID}, Seq: e.Seq},
	})
	return len(b.list) < maxEvents && *size < maxBytes
}

// ownBatch reads this node's own events after a place, up to a time.
func (s *Sink) ownBatch(pos store.EventPos, to time.Time) (*batch, error) {
	if pos.Time.After(to.Add(settled)) { // the clock was put back: events have earlier times now
		pos = store.EventPos{Time: to}
	}
	b := &batch{next: store.ChangePos{EventPos: pos}}
	rows, size := 0, 0
	for e, err := range s.cfg.Own(store.EventQuery{From: pos.Time, After: pos, To: to}) {
		if err != nil {
			return nil, err
		}
		b.next.EventPos = store.EventPos{Time: e.Time, ID: e.ID}
		rows++
		if s.wanted(e.Account) && !s.add(b, e, &size) || rows >= maxRows {
			b.more = true
			break
		}
	}
	return b, nil
}

// changesBatch reads the events of changes after a place.
func (s *Sink) changesBatch(pos store.ChangePos) (*batch, error) {
	f, err := s.cfg.Changes(pos, s.cfg.Accounts)
	if err != nil {
		return nil, err
	}
	for _, err := range f.Unread {
		s.count(func(n *Figures) { n.Dropped++ })
		s.cfg.Logger.Error("an event of a change cannot be read: the sinks of the audit log leave it out", "sink", s.cfg.Target.Redacted(), "error", err)
	}
	b, size := &batch{next: f.Next, more: f.More}, 0
	for i, e := range f.Events {
		if !s.add(b, e, &size) && i+1 < len(f.Events) {
			b.next, b.more = b.list[i].pos, true
			break
		}
	}
	return b, nil
}

// pass sends a batch, or its first part, and returns the place up to which the receiver has
// the events.
func (s *Sink) pass(ctx context.Context, st *stream, b *batch, pos store.ChangePos) (_ store.ChangePos, more bool, err error) {
	if len(b.list) == 0 {
		s.behind(st, time.Time{})
		return b.next, b.more, nil
	}
	s.behind(st, b.list[0].time)
	n, err := s.offer(ctx, st, b.list)
	switch {
	case n == 0:
		return pos, false, err
	case n < len(b.list):
		s.behind(st, b.list[n].time)
		return b.list[n-1].pos, true, err
	case b.more:
		s.behind(st, b.next.Time)
	default:
		s.behind(st, time.Time{})
	}
	return b.next, b.more, err
}

// offer sends as many events of a list as the receiver takes at once, and returns how many
// are done with. Batches that it refuses are halved, until an event is refused alone:
// that one is left out after maxTries, so that it does not hold the others for ever.
func (s *Sink) offer(ctx context.Context, st *stream, list []message) (n int, err error) {
	for {
		n = min(len(list), st.limit)
		err = s.send(ctx, list[:n])
		var refused *refusedError
		switch {
		case err == nil:
			st.limit, st.tries = min(2*st.limit, maxEvents), 0
			s.count(func(f *Figures) { f.Sent += uint64(n) })
			return n, nil
		case !errors.As(err, &refused):
			return 0, err
		case n > 1:
			st.limit = n / 2
			continue
		}
		if st.tries++; st.tries < maxTries {
			return 0, err
		}
		st.tries = 0
		s.count(func(f *Figures) { f.Dropped++ })
		s.cfg.Logger.Error("an event is not sent to a sink of the audit log, which refuses it; read it in the log", "sink", s.cfg.Target.Redacted(),
			"event", list[0].pos.ID, "time", list[0].time, "tries", maxTries, "error", err)
		return 1, err
	}
}

// Figures are what a sink did since the node started.
type Figures struct {
	Sent    uint64 // events that the receiver took
	Failed  uint64 // sends and reads of the log that failed
	Dropped uint64 // events that were left out: the receiver refuses them, or they are damaged
	Lag     time.Duration
}

// Figures tells how the sink does. Lag is the age of the oldest event that waits.
func (s *Sink) Figures() Figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.figures
	for _, st := range []*stream{&s.own, &s.changes} {
		if !st.oldest.IsZero() {
			f.Lag = max(f.Lag, s.cfg.Clock().Sub(st.oldest))
		}
	}
	return f
}

func (s *Sink) count(add func(*Figures)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.figures)
}

func (s *Sink) behind(st *stream, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.oldest = oldest
}
