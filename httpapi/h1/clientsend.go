package h1

import (
	"errors"
	"time"
)

// send writes what there is of the request to c, the first connection or one after
// another that has failed, and has the rest sent.
func (u *upload) send(c *persistConn) error {
	first, err := u.begin(c)
	if first == nil || err != nil {
		return err
	}
	limit := time.NewTimer(headTime)
	defer limit.Stop()
	select {
	case <-first:
		return u.bodyErr()
	case <-limit.C:
	}
	if !u.sending.TryLock() { // there is a body
		return nil // the goroutine is about to write
	}
	defer u.unlockSending()
	if u.next > 0 {
		return nil
	}
	return u.write()
}

// isWhole reports whether all of the request is there.
func (u *upload) isWhole() bool {
	u.lockSending()
	defer u.unlockSending()
	return u.isWholeLocked()
}

func (u *upload) isWholeLocked() bool { return u.ended && u.whole && len(u.buf) <= maxRaw }

// mayTurn reports whether all of the request is there or can be gathered.
func (u *upload) mayTurn() bool {
	u.lockSending()
	defer u.unlockSending()
	return u.isWholeLocked() || u.mayGather()
}

// turn writes the request to c, and waits for the beginning of the answer.
func (u *upload) turn(c *persistConn) error {
	u.lockSending()
	u.conn, u.next = c, 0
	u.unlockSending()
	u.lock()
	u.last, u.stopped, u.sent = true, true, true
	u.unlock()
	c.waitFor(u.call.t.ResponseHeaderTimeout)
	sent, err := c.socket.take(u.buf, c.br, !c.reused)
	u.lockSending()
	defer u.unlockSending()
	if u.next = sent; errors.Is(err, errShort) {
		return u.write()
	}
	if sent < len(u.buf) {
		u.lock()
		u.sent = false
		u.unlock()
		u.next = len(u.buf) // nothing more is written
	}
	return err
}

// headTime is how long a head waits for the first piece of its body, with which it goes
// out in one write.
const headTime = time.Millisecond

// begin writes the request to c, or starts the goroutine that does. first is closed when
// that has a piece of the body, or none.
func (u *upload) begin(c *persistConn) (first <-chan struct{}, err error) {
	u.lockSending()
	defer u.unlockSending()
	u.lock()
	u.last, u.stopped = false, false
	err = u.err
	u.unlock()
	if u.conn, u.next = c, 0; err != nil {
		return nil, err
	}
	if err = u.prepare(); err != nil {
		u.fail(err)
		return nil, err
	}
	if !u.ended && !u.call.waits() {
		if first = u.startLocked(); first != nil {
			return first, nil
		}
	}
	return nil, u.write()
}

// start has the body sent, unless it is on its way.
func (u *upload) start() {
	u.lockSending()
	defer u.unlockSending()
	if !u.ended {
		u.startLocked()
	}
}

// startLocked starts the goroutine, unless it is there or the connection has failed.
func (u *upload) startLocked() <-chan struct{} {
	u.lock()
	start := !u.running && !u.over && u.users > 0 // without users, the buffer is gone
	u.unlock()
	if !start {
		return nil
	}
	p := u.makeRoom()
	if p == nil {
		return nil
	}
	u.lock()
	u.running = true
	u.users++
	u.unlock()
	u.started = true
	first := make(chan struct{})
	go u.run(p, first)
	return first
}

// run sends the body, whose first piece is read into p, until it ends or cannot be sent.
func (u *upload) run(p []byte, first chan struct{}) {
	for p != nil {
		n, err := u.body.Read(p)
		u.lockSending()
		if first != nil {
			close(first)
			first = nil
		}
		p = u.pass(p[:n], err)
		u.unlockSending()
		p = u.splice(p)
	}
	u.leave()
}

// pass sends p, a piece of the body that was read with err, and returns the room for the
// next one; nil if there is none to come, and the goroutine ends. While p was being read,
// another connection may have taken the place of one that has failed.
func (u *upload) pass(p []byte, err error) (room []byte) {
	if err := u.take(p, err); err != nil {
		u.fail(err)
	} else if u.write() == nil && !u.ended {
		room = u.makeRoom()
	}
	if room == nil {
		u.lock()
		u.running = false
		u.unlock()
	}
	return room
}

// makeRoom returns the room for another piece of the body; nil if that cannot be sent. It
// gives up what was kept to send the request again if it has to.
func (u *upload) makeRoom() []byte {
	if cap(u.buf)-len(u.buf) < leastRead {
		if u.next < len(u.buf) && u.write() != nil {
			return nil
		}
		u.buf, u.next, u.whole = u.buf[:0], 0, false
	}
	return u.room()
}

// write sends what of buf was not sent yet. The answer may be there although not all could
// be written, so the connection stays open for reading if that fails.
func (u *upload) write() error {
	if u.ended {
		u.lock()
		u.last = true
		u.unlock()
	}
	if u.next == len(u.buf) {
		return nil // it has failed
	}
	_, err := u.conn.Write(u.buf[u.next:])
	u.next = len(u.buf)
	if err != nil || u.ended {
		u.done(err)
	}
	return err
}

// done notes that nothing more will be written to the connection: all has been, or err
// prevents it. From here on, the answer has a time limit.
func (u *upload) done(err error) {
	u.lock()
	u.stopped, u.sent = true, err == nil
	if t := u.call.t.ResponseHeaderTimeout; t > 0 && !u.headIn {
		u.conn.waitFor(t)
	}
	over, settle := u.over, u.over && !u.settled
	u.settled = u.settled || settle
	keep := u.keep && u.sent
	u.unlock()
	if settle {
		u.conn.SetWriteDeadline(time.Time{})
		u.release(keep)
	}
	if err == nil || over {
		u.closeBody()
	}
}

// fail ends the request because its body could not be read. The upstream must not take
// the part that it has for the whole.
func (u *upload) fail(err error) {
	u.lock()
	u.stopped, u.err = true, err
	u.unlock()
	u.conn.abort()
	u.closeBody()
}

// closeBody closes the body, once.
func (u *upload) closeBody() {
	if u.body != nil && u.closed.CompareAndSwap(false, true) {
		u.body.Close()
	}
}

// bodyErr is the error of reading the body, if that has ended the request.
func (u *upload) bodyErr() error {
	u.lock()
	defer u.unlock()
	return u.err
}

// repeatable reports whether send may be called once more, for another connection. The one
// before must have been closed: no write to it succeeds any more, so nothing is dropped
// from buf.
func (u *upload) repeatable() bool {
	u.lockSending()
	defer u.unlockSending()
	return u.whole && u.bodyErr() == nil
}

// answered notes that the head of the answer is there: the request will not be sent again.
// The rest of it has no bound on time; whole says that it is there, too.
func (u *upload) answered(whole bool) {
	u.lock()
	u.headIn = true
	if !whole {
		u.conn.waitFor(0)
	}
	u.unlock()
	u.leave()
}

// giveUp notes that the request has failed.
func (u *upload) giveUp() {
	if u.conn != nil {
		u.finish(false)
	} else {
		u.closeBody()
	}
	u.lock()
	headIn := u.headIn
	u.unlock()
	if !headIn {
		u.leave()
	}
}

// complete reports whether all of the request has been written.
func (u *upload) complete() bool {
	u.lock()
	defer u.unlock()
	return u.sent
}

// finish notes that the answer has come to its end, or that the request has failed. keep
// tells whether the answer leaves the connection in order. An upload that has more to
// write is stopped.
func (u *upload) finish(keep bool) {
	u.lock()
	u.over, u.keep = true, keep
	u.settled = !keep || !u.last || u.stopped
	settled, running := u.settled, u.running
	keep = keep && u.sent
	if !settled {
		// The upstream has answered to all, so all has arrived: the write is about to return.
		u.conn.SetWriteDeadline(time.Now().Add(time.Second))
	}
	u.unlock()
	switch {
	case !settled:
		return
	case running:
		go u.closeBody() // it may wait for a Read that it does not end
	default:
		u.closeBody()
	}
	u.release(keep)
}

// release gives the connection back, or ends it.
func (u *upload) release(keep bool) {
	if keep {
		u.call.t.pool.put(u.conn)
	} else {
		u.conn.abort()
	}
}
