package h1

import "errors"

// ReadyReader is a body whose octets can be read without waiting for any.
type ReadyReader interface {
	// ReadReady is Read of octets that have arrived already. 0 and nil mean that there are
	// none now, or that only Read can tell.
	ReadReady(p []byte) (int, error)
}

// readNow is Read that does not wait. Its error is errNothingYet if nothing is there.
func (r *rawConn) readNow(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.in, r.read, r.readErr = p, 0, nil
	err := r.raw.Read(r.onReadNow)
	r.in = nil
	if err == nil {
		err = wrapRaw("recvfrom", r.readErr)
	}
	return r.read, err
}

// readReady reads what is in br, or else what raw has received; raw may be nil.
func readReady(br *input, raw *rawConn, p []byte) (int, error) {
	if br.Buffered() > 0 || br.err != nil {
		return br.Read(p)
	}
	if raw == nil {
		return 0, nil
	}
	n, err := raw.readNow(p)
	if errors.Is(err, errNothingYet) {
		err = nil
	}
	return n, err
}

// ReadReady implements [ReadyReader], for a body with a length. A client that waits for a
// 100 is left to Read.
func (b *body) ReadReady(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, left := b.w.c, b.left.Load()
	if b.closed || b.err != nil || left < 0 || c.in.holds() || b.w.awaitsContinue() {
		return 0, nil
	}
	n, err := readReady(c.br, c.raw, p[:min(int64(len(p)), left)])
	if n == 0 && err == nil {
		return 0, nil
	}
	return b.tookLocked(n, err)
}

// awaitsContinue reports whether the client has not been told to send its body.
func (w *response) awaitsContinue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expect
}

// Gather reads octets of a body with a length that have arrived, without waiting, and
// returns how many. It leaves errors to Read.
func (b *answerBody) Gather(p []byte) int {
	if b.err != nil || b.over.Load() || b.from != &b.length || !b.call.conn.mayTurn() {
		return 0
	}
	n, _ := readReady(b.call.conn.br, b.call.conn.socket.fast, p[:min(int64(len(p)), b.length.left)])
	b.length.left -= int64(n)
	return n
}
