package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The bounds of bodies above [maxBody]: how many are in memory at once, how many
// of them one account may hold, so that none keeps all others out, and how long
// the next one waits.
const (
	largeBodies     = 4
	largeForAccount = largeBodies / 2
	largeWait       = 5 * time.Second
)

// largeSlots hands out the places of large bodies. The zero value is ready.
type largeSlots struct {
	mu    sync.Mutex
	taken int
	by    map[store.AccountID]int // accounts that hold some: largeBodies at most
	freed chan struct{}           // closed with the next release; nil while nobody waits
}

// take waits for a place and holds it for account until release.
func (s *largeSlots) take(ctx context.Context, account store.AccountID) *fault.Error {
	timeout := time.NewTimer(largeWait)
	defer timeout.Stop()
	for {
		freed := s.try(account)
		if freed == nil {
			return nil
		}
		select {
		case <-freed:
		case <-timeout.C:
			return &fault.Error{Code: fault.TooBusy, RetryAfter: 1,
				Message: "Too many large bodies are being read at once; nothing was changed."}
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err())
		}
	}
}

// try takes a place and returns nil, or what is closed when one gets free.
func (s *largeSlots) try(account store.AccountID) (freed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == largeBodies || s.by[account] == largeForAccount {
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		return s.freed
	}
	if s.by == nil {
		s.by = make(map[store.AccountID]int)
	}
	s.taken++
	s.by[account]++
	return nil
}

func (s *largeSlots) release(account store.AccountID) {
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
