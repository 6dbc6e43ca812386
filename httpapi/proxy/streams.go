package proxy

import (
	"log/slog"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// A key that lost its right ends its requests within the sum of both, well under
// the promised 5 s.
const (
	longAfter  = time.Second // the age at which a request is entered among the streams
	sweepEvery = time.Second // how often their keys are looked at again
)

// streams are the requests under way that are older than longAfter: responses
// that stream, uploads, tunnels. One goroutine, there only while there are any,
// looks at each of their keys every sweepEvery.
type streams struct {
	keys    Keys
	serving func() *fault.Error
	now     func() time.Time
	logger  *slog.Logger

	longAfter, sweepEvery time.Duration

	mu      sync.Mutex
	all     map[*exchange]struct{}
	running bool
	closed  *fault.Error // set once by close
	missed  int          // sweeps in a row during which this node might not serve; the sweeper's own
}

// add enters x. A fault means that it is too late for x to go on.
func (s *streams) add(x *exchange) *fault.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	if s.all == nil {
		s.all = map[*exchange]struct{}{}
	}
	s.all[x] = struct{}{}
	if !s.running {
		s.running = true
		go s.run()
	}
	return nil
}

func (s *streams) remove(x *exchange) {
	s.mu.Lock()
	delete(s.all, x)
	s.mu.Unlock()
}

func (s *streams) run() {
	t := time.NewTicker(s.sweepEvery)
	defer t.Stop()
	var batch []*exchange
	for range t.C {
		s.mu.Lock()
		if len(s.all) == 0 {
			s.running, s.all = false, nil // a map never shrinks
			s.mu.Unlock()
			return
		}
		batch = s.listLocked(batch[:0])
		s.mu.Unlock()
		s.sweep(batch)
		clear(batch)
	}
}

func (s *streams) listLocked(out []*exchange) []*exchange {
	for x := range s.all {
		out = append(out, x)
	}
	return out
}

// sweep ends those whose key may not be used any more. Requests without a key go on.
func (s *streams) sweep(batch []*exchange) {
	// A node that may not serve cannot know of revocations either. One sweep of
	// grace lets a renewal come late.
	isolated := s.serving()
	if isolated == nil {
		s.missed = 0
	} else if s.missed++; s.missed < 2 {
		isolated = nil
	}
	verdicts := map[store.KeyID]*fault.Error{}
	for _, x := range batch {
		rec := x.pass.Record
		if rec == nil {
			continue
		}
		why, known := verdicts[rec.ID]
		if !known {
			why = s.judge(rec)
			if isolated != nil {
				why = isolated
			}
			verdicts[rec.ID] = why
		}
		if why != nil {
			x.proxy.metrics.cut.WithLabelValues(string(why.Code)).Inc()
			x.kill(why)
		}
	}
}

// judge says why the key of rec may not be used any more, or nil.
func (s *streams) judge(rec *store.Record) *fault.Error {
	if rec.Account != nil && rec.Account.Load() == nil {
		return fault.New(fault.KeyRevoked)
	}
	key, err := s.keys.Key(rec.ID)
	if err != nil {
		s.logger.Error("look at the key of a long request", "key", rec.ID, "error", err)
		return nil
	}
	if key == nil {
		return fault.New(fault.KeyRevoked)
	}
	switch key.State(s.now()) {
	case store.Revoked:
		return fault.New(fault.KeyRevoked)
	case store.Expired:
		return fault.New(fault.KeyExpired)
	case store.Disabled:
		return fault.New(fault.KeyDisabled)
	}
	return nil
}

// close ends all, and whatever becomes long later.
func (s *streams) close(why *fault.Error) {
	s.mu.Lock()
	s.closed = why
	all := s.listLocked(nil)
	s.mu.Unlock()
	for _, x := range all {
		x.kill(why)
	}
}
