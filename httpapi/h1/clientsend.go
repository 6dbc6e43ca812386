package h1

import (
	"net/http/httptrace"
	"time"
)

// send writes what there is of the request to c, the first connection or one after
// another that has failed, and has the rest sent.
func (u *upload) send(c *persistConn) error {
	u.sending.Lock()
	defer u.sending.Unlock()
	u.mu.Lock()
	u.last, u.stopped = false, false
	err := u.err
	u.mu.Unlock()
	if u.conn, u.next, u.halted = c, 0, false; err != nil {
		return err
	}
	if err = u.prepare(); err != nil {
		u.fail(err)
		return err
	}
	if u.ended || u.call.waits() {
		return u.write()
	}
	if first := u.startLocked(); first != nil {
		return u.await(first)
	}
	return u.write()
}

// headTime is how long a head waits for the first piece of its body, with which it goes
// out in one write.
const headTime = time.Millisecond

// await waits until the goroutine has written the head with a piece of the body, which
// tells by first, but no longer than headTime.
func (u *upload) await(first <-chan struct{}) error {
	u.sending.Unlock()
	limit := time.NewTimer(headTime)
	select {
	case <-first:
	case <-limit.C:
	}
	limit.Stop()
	u.sending.Lock()
	if err := u.bodyErr(); err != nil || u.next > 0 {
		return err
	}
	return u.write()
}

// start has the body sent, unless it is on its way.
func (u *upload) start() {
	u.sending.Lock()
	defer u.sending.Unlock()
	if !u.ended {
		u.startLocked()
	}
}

// startLocked starts the goroutine if it is not there. first is closed when it has sent a
// piece of the body, or cannot.
func (u *upload) startLocked() (first chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running || u.over || u.users == 0 { // without users, the buffer is gone
		return nil
	}
	u.users++
	u.running = true
	first = make(chan struct{})
	go u.run(first)
	return first
}

// run sends the body until it ends or cannot be sent.
func (u *upload) run(first chan struct{}) {
	more := u.step()
	close(first)
	for more {
		more = u.step()
	}
	u.leave()
}

// step sends a piece of the body, and reports whether there is more to do. While it reads,
// another connection may take the place of one that has failed.
func (u *upload) step() bool {
	u.sending.Lock()
	if !u.makeRoom() {
		u.sending.Unlock()
		return false
	}
	p := u.room()
	u.sending.Unlock()
	n, err := u.body.Read(p)
	u.sending.Lock()
	defer u.sending.Unlock()
	if err := u.take(p[:n], err); err != nil {
		u.fail(err)
		return false
	}
	return !u.isHalted() && u.write() == nil && !u.ended
}

// makeRoom makes room for another piece of the body, and reports whether it may be read.
// It gives up what was kept to send the request again if it has to.
func (u *upload) makeRoom() bool {
	if u.isHalted() {
		return false
	}
	if cap(u.buf)-len(u.buf) >= leastRead {
		return true
	}
	if u.next < len(u.buf) && u.write() != nil {
		return false
	}
	u.buf, u.next, u.whole = u.buf[:0], 0, false
	return true
}

// isHalted reports whether the goroutine has to end until there is another connection.
func (u *upload) isHalted() bool {
	if u.halted {
		u.mu.Lock()
		u.running = false
		u.mu.Unlock()
	}
	return u.halted
}

// write sends what of buf was not sent yet. The answer may be there although not all could
// be written, so the connection stays open for reading if that fails.
func (u *upload) write() error {
	if u.ended {
		u.mu.Lock()
		u.last = true
		u.mu.Unlock()
	}
	head := u.whole && u.next == 0
	_, err := u.conn.Write(u.buf[u.next:])
	u.next = len(u.buf)
	if trace := u.call.trace; head && err == nil && trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if err != nil || u.ended {
		u.done(err)
	}
	return err
}

// done notes that nothing more will be written to the connection: all has been, or err
// prevents it. From here on, the answer has a time limit.
func (u *upload) done(err error) {
	if trace := u.call.trace; trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
	u.mu.Lock()
	u.stopped, u.running, u.sent = true, false, err == nil
	if t := u.call.t.ResponseHeaderTimeout; t > 0 && !u.headIn {
		u.conn.SetReadDeadline(time.Now().Add(t))
	}
	over, settle := u.over, u.over && !u.settled
	u.settled = u.settled || settle
	keep := u.keep && u.sent
	u.mu.Unlock()
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
	u.mu.Lock()
	u.stopped, u.running, u.err = true, false, err
	u.mu.Unlock()
	u.conn.abort()
	u.closeBody()
}

func (u *upload) closeBody() {
	if u.body != nil {
		u.body.Close()
	}
}

// bodyErr is the error of reading the body, if that has ended the request.
func (u *upload) bodyErr() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// repeatable reports whether send may be called once more, for another connection, and
// keeps it so. The one before must have been closed, so that no write to it goes on.
func (u *upload) repeatable() bool {
	u.sending.Lock()
	defer u.sending.Unlock()
	u.halted = u.whole && u.bodyErr() == nil
	return u.halted
}

// answered notes that the head of the answer is there: the request will not be sent again.
func (u *upload) answered() {
	u.mu.Lock()
	u.headIn = true
	if u.call.t.ResponseHeaderTimeout > 0 {
		u.conn.SetReadDeadline(time.Time{})
	}
	u.mu.Unlock()
	u.leave()
}

// giveUp notes that the request has failed.
func (u *upload) giveUp() {
	if u.conn != nil {
		u.finish(false)
	} else {
		u.closeBody()
	}
	u.mu.Lock()
	headIn := u.headIn
	u.mu.Unlock()
	if !headIn {
		u.leave()
	}
}

// complete reports whether all of the request has been written.
func (u *upload) complete() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent
}

// finish notes that the answer has come to its end, or that the request has failed. keep
// tells whether the answer leaves the connection in order. An upload that has more to
// write is stopped.
func (u *upload) finish(keep bool) {
	u.mu.Lock()
	u.over, u.keep = true, keep
	u.settled = !keep || !u.last || u.stopped
	settled, running := u.settled, u.running
	keep = keep && u.sent
	if !settled {
		// The upstream has answered to all, so all has arrived: the write is about to return.
		u.conn.SetWriteDeadline(time.Now().Add(time.Second))
	}
	u.mu.Unlock()
	if settled {
		u.release(keep)
	}
	if !running {
		u.closeBody()
	}
}

// release gives the connection back, or ends it.
func (u *upload) release(keep bool) {
	if keep {
		u.call.t.pool.put(u.conn)
	} else {
		u.conn.abort()
	}
}
