package h1

import "errors"

// turn is the common case of a request: all of it is there, and it goes out in one write.
// Checking the connection, writing, and waiting for the answer are one operation on it, so
// that the scheduler and the kernel are asked once.
//
// The steps rely on how the runtime waits for a descriptor: an event after the first step
// ends the wait, even if it came before the wait began. So nothing that comes after the
// check is missed.
type turn struct {
	request []byte
	sent    int // octets of request
	err     error
	began   bool // the connection has been checked
	fresh   bool // it need not be: it carried no request yet
	into    *input
	n       int  // octets of the answer, put into it
	early   bool // they came before the upstream's kernel had received any of the request
	step    func(fd uintptr) bool
	pending func(fd uintptr) int // pendingRaw, but for tests
}

// errStale is returned for a connection that has ended, or has octets that nobody asked
// for, before anything was sent.
var errStale = errors.New("the idle connection is no longer fit")

// errShort is returned if the kernel has taken a part of the request only.
var errShort = errors.New("the request was written in part")

func (s *socket) newTurn() *turn {
	t := &turn{pending: pendingRaw}
	t.step = func(fd uintptr) bool {
		if !t.began {
			if t.began = true; !t.fresh && !peekRaw(fd) {
				t.err = errStale
				return true
			}
			n, err := sendRaw(fd, t.request)
			t.sent = max(n, 0)
			switch {
			case err != nil && !errors.Is(err, errNothingYet):
				t.err = err
			case t.sent < len(t.request):
				t.err = errShort
			}
			return t.err != nil
		}
		n, err := receiveRaw(fd, t.into.room())
		if errors.Is(err, errNothingYet) {
			return false
		}
		t.into.took(n)
		t.n, t.err = n, err
		t.early = n > 0 && !t.fresh && t.pending(fd) >= t.sent
		return true
	}
	return t
}

// take sends request and waits for the first octets of the answer, which it puts into a
// buffer. It returns how much was sent. fresh says that the connection has carried no
// request yet.
func (s *socket) take(request []byte, into *input, fresh bool) (sent int, err error) {
	t := s.turn
	if t == nil {
		t = s.newTurn()
		s.turn = t
	}
	t.request, t.into, t.sent, t.n, t.err, t.began, t.fresh, t.early = request, into, 0, 0, nil, false, fresh, false
	err = s.raw.Read(t.step)
	t.request, t.into = nil, nil
	s.written.Add(int64(t.sent))
	if err == nil {
		err = wrapRaw("recvfrom", t.err)
	}
	s.judged = t.n > 0
	return t.sent, err
}

// early reports whether the octets that have come cannot be the answer to a request that
// began after the first sent octets: the upstream's kernel had not received any of it.
func (s *socket) early(sent int64) bool {
	if s.judged {
		return s.turn.early
	}
	return s.unacknowledged(sent)
}
