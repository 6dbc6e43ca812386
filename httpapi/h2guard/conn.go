package h2guard

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrEnded is the error of Read after the guard has ended the connection.
var ErrEnded = errors.New("the connection is ended: its client sends frames without progress")

// The bounds of a farewell: the client gets this long to take the last frame, and may send
// as much meanwhile. An end without reading would be a reset, which takes the frame with it.
const (
	goAwayTime  = time.Second
	goAwayBytes = 8 << 20 // more than the kernel holds on the way
)

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// start is the zero of the clock of all connections.
var start = time.Now()

// Config says how connections are guarded.
type Config struct {
	// HeadTimeout bounds the time from the first octets of a head to its last. Zero is none.
	HeadTimeout time.Duration
	// Ended is told of each connection that the guard ends, with one of [Reasons]. It may
	// be nil.
	Ended func(c net.Conn, reason string)
}

// Conn is a guarded connection, of which no octet has been read or written. It has no
// method ConnectionState, by which net/http would take it for one of TLS.
type Conn struct {
	net.Conn
	cfg *Config

	in    parser // its reader's
	timed bool   // its reader's: the read deadline is that of a head

	writing sync.Mutex
	out     parser // guarded by writing
	broken  bool   // a write has failed; guarded by writing
	held    []byte // of out, the octets of a short frame that have not been written; guarded by writing

	mu      sync.Mutex
	account account // guarded by mu

	over     atomic.Bool // set once
	farewell sync.Once
}

// New guards nc.
func New(nc net.Conn, cfg *Config) *Conn {
	c := &Conn{Conn: nc, cfg: cfg, account: newAccount(time.Since(start))}
	c.in.left = prefaceLen
	return c
}

// NetConn returns the connection as it was given to New.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read implements [io.Reader]. The error is [ErrEnded] from the frame on that is one too
// many.
func (c *Conn) Read(p []byte) (int, error) {
	if c.over.Load() {
		return 0, ErrEnded
	}
	n, err := c.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		f, rest, found := c.in.next(b)
		if b = rest; found {
			c.judge(f, false)
		}
	}
	if c.timed && errors.Is(err, os.ErrDeadlineExceeded) {
		c.end(slowHead)
	}
	if c.over.Load() {
		return 0, ErrEnded
	}
	c.timeHead()
	return n, err
}

// timeHead sets the read deadline while a head is on its way. net/http sets none after
// the preface.
func (c *Conn) timeHead() {
	switch t := c.cfg.HeadTimeout; {
	case t == 0 || c.timed == c.in.heading:
		return
	case c.in.heading:
		c.Conn.SetReadDeadline(time.Now().Add(t))
	default:
		c.Conn.SetReadDeadline(time.Time{})
	}
	c.timed = c.in.heading
	if c.over.Load() { // ended meanwhile, by a write
		c.Conn.SetReadDeadline(past)
	}
}

// Write implements [io.Writer]. The frames count before they are written: the client's
// answers may be faster than the return. The server's buffer may end within a frame; if
// that is short, its octets wait for the rest, so that a GOAWAY can follow.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	all, begin := p, 0 // begin is where the last frame begins, if that is in all
	if len(c.held) > 0 {
		all = append(c.held, p...)
	}
	within := len(c.held) > 0
	for b := p; len(b) > 0; {
		if c.out.between() {
			begin, within = len(all)-len(b), true
		}
		f, rest, found := c.out.next(b)
		if b = rest; found {
			c.judge(f, true)
		}
	}
	c.held = nil
	if within && c.out.short() {
		c.held = bytes.Clone(all[begin:])
		all = all[:begin]
	}
	if len(all) > 0 {
		if _, err := c.Conn.Write(all); err != nil {
			c.broken = true
			return 0, err
		}
	}
	return len(p), nil
}

// judge has the account judge a frame, of the server if sent, and ends the connection if it
// is one too many.
func (c *Conn) judge(f frame, sent bool) {
	by := c.account.received
	if sent {
		by = c.account.sent
	}
	c.mu.Lock()
	k, ok := by(f, time.Since(start))
	c.mu.Unlock()
	if !ok {
		c.end(budgets[k].reason)
	}
}

// end has Read fail, by which the server ends the connection.
func (c *Conn) end(reason string) {
	if c.over.Swap(true) {
		return
	}
	c.Conn.SetReadDeadline(past)
	if c.cfg.Ended != nil {
		c.cfg.Ended(c.Conn, reason)
	}
}

// Close implements [io.Closer]. If the guard has ended the connection, the last frame is
// GOAWAY with ENHANCE_YOUR_CALM, unless another is still being written.
func (c *Conn) Close() error {
	if c.over.Load() {
		c.farewell.Do(c.sayGoAway)
	}
	return c.Conn.Close()
}

// sayGoAway sends GOAWAY and the end of the stream of octets, and waits for the client's.

func (c *Conn) sayGoAway() {
	c.Conn.SetDeadline(time.Now().Add(goAwayTime)) // also of a write that holds the lock
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.broken || !c.out.between() && len(c.held) == 0 {
		return
	}
	c.mu.Lock()
	last := c.account.last
	c.mu.Unlock()
	if _, err := c.Conn.Write(goAway(last, codeCalm, "too many frames without progress")); err != nil {
		return
	}
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, goAwayBytes)) // it is read for its end alone
	}
}
