package h1

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPipes bounds the pipes in use, each of two descriptors and up to PipeSize of the
// kernel's memory. Bodies beyond them are copied.
const maxPipes = 32

// Pipe moves octets from one connection of TCP to another without copying them, by
// splice(2). It belongs to one goroutine.
type Pipe struct {
	in, out int // descriptors: octets are written to in
	held    int // octets

	source, sink rawStep
}

// rawStep is a step on a connection, with its result.
type rawStep struct {
	run func(fd uintptr) bool
	max int
	n   int
	err error
}

// idlePipes are empty and not in use. made counts all, and used those that are in use.
var (
	idlePipes  = make(chan *Pipe, maxPipes/4)
	made, used atomic.Int64
)

// Splicing is the number of pipes in use.
func Splicing() int64 { return used.Load() }

// NewPipe returns an empty pipe; nil if there is none to be had.
func NewPipe() *Pipe {
	select {
	case p := <-idlePipes:
		used.Add(1)
		return p
	default:
	}
	if made.Add(1) > maxPipes {
		made.Add(-1)
		return nil
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		made.Add(-1)
		return nil
	}
	used.Add(1)
	p := &Pipe{in: fds[1], out: fds[0]}
	p.source.run = func(fd uintptr) bool { return p.source.splice(int(fd), p.in) }
	p.sink.run = func(fd uintptr) bool { return p.sink.splice(p.out, int(fd)) }
	return p
}

// Free gives the pipe back. It must not be used any more.
func (p *Pipe) Free() {
	used.Add(-1)
	if p.held == 0 {
		select {
		case idlePipes <- p:
			return
		default:
		}
	}
	syscall.Close(p.in)
	syscall.Close(p.out)
	made.Add(-1)
}

// Len is the number of octets in the pipe.
func (p *Pipe) Len() int { return p.held }

// splice moves up to max octets. false means that the connection has to be waited for.
func (s *rawStep) splice(from, to int) bool {
	for {
		n, err := unix.Splice(from, nil, to, nil, s.max, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch err {
		case nil:
			s.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			s.err = err
			return true
		}
	}
}

// fill waits for octets of c, and takes at most max of them. The pipe must be empty, or
// nobody would know what is waited for. 0 means that reading c tells why there are none.
func (p *Pipe) fill(c *rawConn, max int) (n int) {
	s := &p.source
	s.max, s.n, s.err = min(max, PipeSize), 0, nil
	if p.held > 0 || s.max <= 0 || c.raw.Read(s.run) != nil {
		return 0
	}
	p.held = s.n
	return s.n
}

// drain waits until c takes octets, and returns how many it has taken.
func (p *Pipe) drain(c *rawConn) (int, error) {
	s := &p.sink
	s.max, s.n, s.err = p.held, 0, nil
	err := c.raw.Write(s.run)
	if err == nil {
		err = wrapRaw("splice", s.err)
	}
	p.held -= s.n
	return s.n, err
}
