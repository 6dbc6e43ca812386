package h1

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// socket is a connection to an upstream below TLS. It can be read without waiting, and
// knows how many octets were written to it.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: cannot be read without waiting
	fast    *rawConn        // nil: there is none
	written atomic.Int64    // octets that the kernel has taken

	// The fields below belong to the goroutine that owns the connection.
	turn    *turn // nil before the first one
	judged  bool  // turn.early is about the request under way
	polling bool  // Read does not wait
	poll    func(fd uintptr) bool
	into    []byte // of poll
	n       int
	err     error
	count   func(fd uintptr)
	acked   int64 // octets, as count has found; negative if it could not
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c, fast: newRawConn(c)}
	if sc, ok := c.(syscall.Conn); ok && canPoll {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.poll = func(fd uintptr) bool {
		s.n, s.err = readNow(fd, s.into)
		return true
	}
	s.count = func(fd uintptr) { s.acked = acknowledged(fd) }
	return s
}

// errNothingYet is returned by a Read that does not wait. It is temporary, which
// crypto/tls understands: it keeps its state and reads again later.
var errNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

// Read implements [io.Reader].
func (s *socket) Read(p []byte) (int, error) {
	switch {
	case s.polling:
	case s.fast != nil:
		return s.fast.Read(p)
	default:
		return s.Conn.Read(p)
	}
	s.into = p
	err := s.raw.Read(s.poll)
	s.into = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

// Write implements [io.Writer].
func (s *socket) Write(p []byte) (int, error) {
	n, err := 0, error(nil)
	if s.fast != nil {
		n, err = s.fast.Write(p)
	} else {
		n, err = s.Conn.Write(p)
	}
	s.written.Add(int64(n))
	return n, err
}

// CloseWrite ends one direction.
func (s *socket) CloseWrite() error { return endWrites(s.Conn) }

func endWrites(c any) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// quiet reports whether nothing can be read from c, a connection whose lowest layer is s:
// no octet and no end. What was read is lost, so a connection that is not quiet cannot be
// used again.
func (s *socket) quiet(c net.Conn) bool {
	if s.raw == nil {
		return false
	}
	var octet [1]byte
	s.polling = true
	n, err := c.Read(octet[:])
	s.polling = false
	return n == 0 && errors.Is(err, errNothingYet)
}

// endedFirst reports whether the upstream cannot have read any octet after the first sent
// ones, and never will: err, of reading its answer, says that the connection has ended,
// and its kernel ended it before it had received them. An end (FIN) acknowledges all that
// was received before it. A reset is no such proof, since it may have come while an
// acknowledgement was delayed. Nor are octets that came too early: the upstream goes on to
// read.
func (s *socket) endedFirst(sent int64, err error) bool {
	if errors.Is(err, errStray) {
		return s.ends() && s.unacknowledged(sent)
	}
	return ended(err) && s.unacknowledged(sent)
}

// maxStray bounds the octets that ends reads, in kilobytes.
const maxStray = 64

// ends reads what has come, without waiting, and reports whether the connection's end is
// there too.
func (s *socket) ends() bool {
	var p [1 << 10]byte
	s.polling = true
	defer func() { s.polling = false }()
	for range maxStray {
		if _, err := s.Read(p[:]); err != nil {
			return ended(err)
		}
	}
	return false
}

// unacknowledged reports whether the peer's kernel has acknowledged the first sent octets
// and none after them. It is false where that is not known, as it is without a count or
// with one that is always 0.
func (s *socket) unacknowledged(sent int64) bool {
	if s.raw == nil || s.raw.Control(s.count) != nil {
		return false
	}
	return s.acked == sent || s.acked == sent+1 // the handshake counts as an octet
}
