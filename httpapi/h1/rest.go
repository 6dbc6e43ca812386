package h1

import "time"

// restAfter is how long a connection waits for its next request with the goroutine that
// served the last one, and its stack. A connection that waits for longer gives it up, and
// so does one that has had its first request: it has not shown yet that more will follow
// soon, and of thousands that come at once each would hold the stack of a request.
const restAfter = time.Second

// rest is the rest of a connection. Its goroutine ends, and another one, with a small stack,
// waits in its place.
type rest struct {
	since  time.Time // of the wait for a request; zero before the first answer
	rested bool      // since then
	tired  bool      // it is to rest now
	woken  *input    // has the octets that have ended the rest; nil if it was not asked for
}

// setIdle sets the deadline for the next request: that of the connection, or that of
// restAfter, if it is earlier.
func (c *conn) setIdle() {
	timeout := c.server.IdleTimeout
	if !c.rested {
		c.since = time.Now()
		if timeout == 0 || timeout > 2*restAfter {
			timeout = restAfter
		}
		c.in.setIdle(c.since, timeout)
		return
	}
	var due time.Time
	if timeout > 0 {
		due = c.since.Add(timeout)
	}
	c.in.setDeadline(due)
}

// mayRest reports whether the deadline that has passed is that of restAfter.
func (c *conn) mayRest() bool {
	timeout := c.server.IdleTimeout
	return c.served && !c.rested && (timeout == 0 || timeout > 2*restAfter)
}

// serveRequests serves the requests one after the other, and reports whether another
// goroutine goes on.
func (c *conn) serveRequests() (goesOn bool) {
	for c.next() {
		first := !c.served
		c.answers++
		if c.served = true; c.land() {
			return true
		}
		if first && c.pause() {
			break
		}
	}
	if !c.tired {
		return false
	}
	c.tired, c.rested = false, true
	c.in.dropTimer()
	c.setIdle()
	go c.resume()
	return true
}

// pause has the connection rest, unless its next request has begun or the server is
// closing.
func (c *conn) pause() bool {
	c.state.Store(idle)
	if c.br.Buffered() > 0 || c.in.holds() || c.server.closing.Load() {
		return false
	}
	c.since, c.tired = time.Now(), true
	if c.raw != nil {
		c.unbuffer() // the next wait does without
	}
	return true
}

// resume serves a connection that has rested.
func (c *conn) resume() {
	goesOn := false
	defer func() {
		if !goesOn {
			c.end()
		}
	}()
	if c.raw != nil { // the wait is here and not in next, so that it fits into the smallest stack
		in, err := c.raw.await()
		if err != nil {
			return
		}
		c.woken = in
	}
	goesOn = c.serveRequests()
}
