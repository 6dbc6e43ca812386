package h1

import "net/http"

// Bodies are moved between connections of TCP by splice(2), which does not copy them, as
// long as spliceFrom octets or more are to come. Their beginning and their end go the
// usual way, which knows what belongs to an end.
const (
	spliceFrom = 128 << 10
	spliceTail = 16 << 10
)

// PipeSize is how many octets a [Pipe] holds at most.
const PipeSize = 64 << 10

// PipeReader is a body that can be moved without being copied.
type PipeReader interface {
	// ReadPipe waits for octets of the body, and moves at most max of them to p, which must
	// be empty. 0 means that Read is to be called instead, and says why.
	ReadPipe(p *Pipe, max int) int
}

// spliceable is how many of left octets of a body may be moved at once; 0 is none.
func spliceable(left int64, max int) int {
	return int(min(left-spliceTail, int64(max)))
}

// ReadPipe implements [PipeReader], for a body with a length on a connection of TCP.
func (b *body) ReadPipe(p *Pipe, max int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, left := b.w.c, b.left.Load()
	if b.closed || b.err != nil || c.raw == nil || c.br.Buffered() > 0 || c.in.holds() {
		return 0
	}
	if max = spliceable(left, max); max <= 0 {
		return 0
	}
	b.w.sendContinue()
	n := p.fill(c.raw, max)
	b.left.Store(left - int64(n))
	return n
}

// ReadPipe implements [PipeReader].
func (b *answerBody) ReadPipe(p *Pipe, max int) int {
	if b.err != nil || b.over.Load() || b.from != &b.length {
		return 0
	}
	c := b.call.conn
	if !c.mayTurn() || c.br.Buffered() > 0 {
		return 0
	}
	if max = spliceable(b.length.left, max); max <= 0 {
		return 0
	}
	n := p.fill(c.socket.fast, max)
	b.length.left -= int64(n)
	return n
}

// MayMove reports whether the rest of the answer is worth being moved by a [Pipe].
func (a *Answer) MayMove() bool {
	b, ok := a.Body.(*answerBody)
	return ok && !b.over.Load() && b.from == &b.length && b.length.left >= spliceFrom && b.call.conn.mayTurn() && b.Buffered() == 0
}

// MayMove reports whether WritePipe may be called: the client's connection is one of TCP.
func (x *Exchange) MayMove() bool { return x.w.c.raw != nil && x.w.framing == withLength }

// WritePipe sends a part of the content that is in p, and returns how much. More than the
// answer's length is an error.
func (x *Exchange) WritePipe(p *Pipe) (int, error) {
	w := &x.w
	if w.written+int64(p.Len()) > w.length {
		return 0, http.ErrContentLength
	}
	if err := w.c.bw.Flush(); err != nil {
		return 0, err
	}
	w.c.out.renew()
	n, err := p.drain(w.c.raw)
	w.written += int64(n)
	if err != nil {
		w.c.cancel()
	}
	return n, err
}

// spliceTries bounds how often an upload is tried to be spliced in vain. The first time,
// octets that were read with the head may be in the way.
const spliceTries = 4

// splice moves the body as far as it can, if what is left of it is worth that, and returns
// the room for what is to be read next; nil if that cannot be sent.
func (u *upload) splice(room []byte) []byte {
	if room == nil || u.tries == spliceTries || u.length < 0 || u.rest < spliceFrom || u.whole || !u.conn.mayTurn() {
		return room
	}
	u.tries++
	from, ok := u.body.(PipeReader)
	if !ok {
		u.tries = spliceTries
		return room
	}
	p := NewPipe()
	if p == nil {
		u.tries = spliceTries
		return room
	}
	defer p.Free()
	for n := 1; n > 0 && u.rest > spliceTail; {
		n = from.ReadPipe(p, PipeSize)
		u.rest -= int64(n)
		if !u.drain(p) {
			return nil
		}
	}
	return room[:min(int64(len(room)), u.rest)]
}

// drain sends what is in p, and reports whether more may follow.
func (u *upload) drain(p *Pipe) bool {
	u.lockSending()
	defer u.unlockSending()
	for p.Len() > 0 {
		n, err := p.drain(u.conn.socket.fast)
		u.conn.socket.written.Add(int64(n))
		if err != nil {
			u.done(err)
			u.lock()
			u.running = false
			u.unlock()
			return false
		}
	}
	return true
}
