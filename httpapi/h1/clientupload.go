package h1

import (
	"io"
	"strconv"
	"sync"
	"sync/atomic"
)

// upload is a request on its way to an upstream. Its head, and what of its body is there
// already, go out in one write. A goroutine sends the rest, so that the answer may come
// meanwhile.
//
// Everything that is sent is kept until the buffer is full. Until then the request can be
// sent again on another connection, from the beginning, although its body has been read.
type upload struct {
	call   *Call
	body   io.ReadCloser // nil: there is none
	length int64         // of the body; -1: in chunks
	closed atomic.Bool   // the body

	alone bool // there is no body, so no other goroutine knows u, and its locks are not taken

	sending  sync.Mutex   // held while the request is written; guards what follows
	conn     *persistConn // only the call changes it
	buf      []byte       // what was sent or is to be sent, as it goes over the wire
	whole    bool         // buf begins with the first octet
	rest     int64        // octets that the body still owes, if it has a length
	started  bool         // a goroutine has been, which may know the body still
	ended    bool         // the body has come to its end, which is in buf
	prepared bool         // prepare has run
	next     int          // octet of buf to be sent
	tries    int          // to splice the body; of the goroutine

	progress
}

// progress is how far a request and its answer have come. Its lock may be taken while
// upload.sending is held.
type progress struct {
	mu      sync.Mutex // guards what follows
	running bool       // the goroutine is there
	last    bool       // the write of the last octet has begun
	stopped bool       // nothing more will be written to the connection
	sent    bool       // all has been written
	err     error      // of reading the body
	headIn  bool       // the head of the answer is there
	over    bool       // the answer has come to its end, or the request has failed
	keep    bool       // the answer leaves the connection in order
	settled bool       // the connection has been given back or ended
	users   int        // of upload.buf: the call, until the head is there, and the goroutine
}

const (
	// The sizes of buffers of requests without and with a body.
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
	// The most octets of a chunk's data, and of its line.
	maxChunk     = 0xffff
	maxChunkSize = len("ffff\r\n")
	// leastRead is the room for a piece of the body below which the buffer is full.
	leastRead = 1 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// init takes the request of call, and writes its head to a buffer. The body is nil if
// there is none, its length -1 if it goes out in chunks.
func (u *upload) init(call *Call, body io.ReadCloser, length int64) (err error) {
	u.call, u.body, u.length, u.rest = call, body, length, length
	u.whole, u.ended, u.users, u.alone = true, body == nil, 1, body == nil
	u.buf, err = call.appendHead(u.newBuffer(), length)
	return err
}

// reset makes u blank. Nobody may use it.
func (u *upload) reset() {
	u.alone = false
	u.call, u.body, u.length, u.conn, u.buf, u.whole, u.rest, u.started, u.ended, u.prepared, u.next, u.tries = nil, nil, 0, nil, nil, false, 0, false, false, false, 0, 0
	u.closed.Store(false)
	p := &u.progress
	p.running, p.last, p.stopped, p.sent, p.err, p.headIn, p.over, p.keep, p.settled, p.users = false, false, false, false, nil, false, false, false, false, 0
}

// lock takes progress.mu, where another goroutine may.
func (u *upload) lock() {
	if !u.alone {
		u.mu.Lock()
	}
}

func (u *upload) unlock() {
	if !u.alone {
		u.mu.Unlock()
	}
}

// lockSending takes sending likewise.
func (u *upload) lockSending() {
	if !u.alone {
		u.sending.Lock()
	}
}

func (u *upload) unlockSending() {
	if !u.alone {
		u.sending.Unlock()
	}
}

// prepare begins to read the body, once there is a connection.
func (u *upload) prepare() error {
	if u.prepared || u.ended || u.call.waits() {
		return nil
	}
	u.prepared = true
	if u.call.mayBeEmpty() {
		if u.body = probe(u.body); u.body == nil {
			u.length, u.ended = 0, true
			u.buf, _ = u.call.appendHead(u.buf[:0], 0) // it had no fault with a body
			return nil
		}
	}
	return u.fill()
}

func (u *upload) newBuffer() []byte {
	if u.body == nil {
		return smallBuffers.Get().(*[smallBuffer]byte)[:0]
	}
	return largeBuffers.Get().(*[largeBuffer]byte)[:0]
}

// leave drops a use of the buffer.
func (u *upload) leave() {
	u.lock()
	u.users--
	free := u.users == 0
	u.unlock()
	switch {
	case !free:
	case cap(u.buf) == smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(u.buf[:smallBuffer]))
	case cap(u.buf) == largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(u.buf[:largeBuffer]))
	}
}

// fill reads what of the body is in memory already: a body may tell it by a method
// Buffered, as bufio.Reader has.
func (u *upload) fill() error {
	ready, ok := u.body.(interface{ Buffered() int })
	for ok && !u.ended && ready.Buffered() > 0 && cap(u.buf)-len(u.buf) >= leastRead {
		p := u.room()
		n, err := u.body.Read(p)
		if err = u.take(p[:n], err); err != nil {
			return err
		}
	}
	return nil
}

// mayGather reports whether the body is one that gather can get whole.
func (u *upload) mayGather() bool {
	if u.body == nil || u.length < 0 || u.prepared || u.call.waits() || u.rest > int64(cap(u.buf)-len(u.buf)) {
		return false
	}
	_, ok := u.body.(ReadyReader)
	return ok
}

// gather reads what of a short body has arrived, once there is a connection: if it is all,
// the request goes out in one write, and needs no goroutine.
func (u *upload) gather(c *persistConn) error {
	u.lockSending()
	defer u.unlockSending()
	if u.ended || !u.mayGather() {
		return nil
	}
	u.conn = c
	ready, _ := u.body.(ReadyReader)
	for !u.ended {
		p := u.room()
		n, err := ready.ReadReady(p)
		if n == 0 && err == nil {
			return nil
		}
		if err = u.take(p[:n], err); err != nil {
			u.fail(err)
			return err
		}
	}
	return nil
}

// room is where the next piece of the body is read to: into buf, behind the line of the
// chunk's size.
func (u *upload) room() []byte {
	from := len(u.buf)
	if u.length < 0 {
		from += maxChunkSize
		return u.buf[from:min(cap(u.buf)-len("\r\n"), from+maxChunk)]
	}
	return u.buf[from:min(int64(cap(u.buf)), int64(from)+u.rest)]
}

// take frames p, a piece of the body that was read into room with err.
func (u *upload) take(p []byte, err error) error {
	if u.length >= 0 {
		u.buf = u.buf[:len(u.buf)+len(p)]
		if u.rest -= int64(len(p)); u.rest == 0 && err == nil {
			err = expectEnd(u.body)
		}
		if err == io.EOF && u.rest > 0 {
			err = errShortBody
		}
	} else if len(p) > 0 {
		line := strconv.AppendInt(u.buf, int64(len(p)), 16)
		line = append(line, "\r\n"...)
		u.buf = append(append(line, p...), "\r\n"...) // p moves down if its size has fewer digits than there is room for
	}
	if err != io.EOF {
		return err
	}
	if err, u.ended = nil, true; u.length < 0 {
		u.buf, err = u.call.appendTrailer(u.buf)
	}
	return err
}
