package rest

import (
	"context"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// Slots hand out the places of a kind of call that takes much memory or work: how
// many there are, and how many of them one account may hold, so that none keeps
// all others out.
type Slots struct {
	all, each int
	busy      string // why a call got no place in time

	mu    sync.Mutex
	taken int
	by    map[string]int // accounts that hold some: at most all
	freed chan struct{}  // closed with the next release; nil while no call waits
}

// slotWait is how long a call waits for a place.
const slotWait = 5 * time.Second

// NewSlots makes all places, of which an account may hold each. A call that gets none in
// time is refused with the sentence busy.
func NewSlots(all, each int, busy string) Slots { return Slots{all: all, each: each, busy: busy} }

// largeBodies are the places of bodies above [MaxBody].
func largeBodies() Slots {
	return NewSlots(4, 2, "Too many large bodies are being read at once; nothing was changed.")
}

// exports are the places of calls that read all keys, events or counts of an account.
func exports() Slots {
	return NewSlots(8, 2, "Too many exports are under way; try again when one has ended.")
}

// tails are the places of calls that follow the audit log. Each asks all nodes once a second.
func tails() Slots {
	return NewSlots(16, 4, "Too many live tails of the audit log are open; end one of them.")
}

// Take waits for a place and holds it for account until Release.
func (s *Slots) Take(ctx context.Context, account string) *fault.Error {
	timeout := time.NewTimer(slotWait)
	defer timeout.Stop()
	for {
		freed := s.try(account)
		if freed == nil {
			return nil
		}
		select {
		case <-freed:
		case <-timeout.C:
			return &fault.Error{Code: fault.TooBusy, RetryAfter: 1, Message: s.busy}
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err())
		}
	}
}

// try takes a place and returns nil, or a channel that is closed when one gets free.
func (s *Slots) try(account string) (freed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == s.all || s.by[account] == s.each {
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		return s.freed
	}
	if s.by == nil {
		s.by = make(map[string]int)
	}
	s.taken++
	s.by[account]++
	return nil
}

// Release gives back a place of account.
func (s *Slots) Release(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.by[account]--; s.by[account] == 0 {
		delete(s.by, account)
	}
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}
