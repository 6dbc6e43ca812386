package proxy

import (
	"log/slog"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// A request ends within the sum of both after its key or account has lost a right
// that it needs, well under the promised 5 s.
const (
	longAfter  = time.Second // the age at which a request is entered among the streams
	sweepEvery = time.Second // how often they are judged again
)

// streams are the requests under way that are older than longAfter: responses
// that stream, uploads, tunnels. One goroutine, there only while there are any,
// judges each of them again every sweepEvery: a microsecond for each.
type streams struct {
	gate   Gate
	now    func() time.Time
	logger *slog.Logger

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

// sweep ends the requests that would be refused by now.
func (s *streams) sweep(batch []*exchange) {
	// A node that may not serve cannot know of revocations either. One sweep of
	// grace lets a renewal come late.
	isolated := s.gate.Serving()
	if isolated == nil {
		s.missed = 0
	} else if s.missed++; s.missed < 2 {
		isolated = nil
	}
	now := s.now()
	for _, x := range batch {
		if why := s.judge(x, isolated, now); why != nil && x.kill(why) {
			x.proxy.metrics.cut.WithLabelValues(string(why.Code)).Inc()
		}
	}
}

// judge returns the reason why x may not go on, or nil: the routes in force refuse it,
// its key has lost a right, or it needs a key and this node may not serve. The sweeper's
// goroutine reads only fields that are set before watch is called, and the head of the
// request, which does not change.
func (s *streams) judge(x *exchange, isolated *fault.Error, now time.Time) *fault.Error {
	x.mu.Lock() // until it is unlocked, x does not end, after which its request is another one
	defer x.mu.Unlock()
	if x.ended {
		return nil
	}
	f := s.update(x, isolated, now)
	switch pass := x.ruling.pass; {
	case f != nil:
	case pass == nil:
		return nil
	case isolated != nil:
		return isolated
	default:
		if f = s.gate.Lost(x.r, pass, x.ruling.rule, now); f != nil && f.Code == fault.InvalidKey {
			return fault.New(fault.KeyRevoked) // it was known, and is gone with its account
		}
	}
	if f != nil && f.Code == fault.Unavailable {
		s.logger.Error("look at the key of a long request", "request_id", x.id, "error", f.Cause)
		return nil
	}
	return f
}

// close ends all, and every request that becomes long later.
func (s *streams) close(why *fault.Error) {
	s.mu.Lock()
	s.closed = why
	all := s.listLocked(nil)
	s.mu.Unlock()
	for _, x := range all {
		x.kill(why)
	}
}
