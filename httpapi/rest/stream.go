package rest

import (
	"bufio"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The pace of a streamed answer.
const (
	streamBuffer = 64 << 10         // bytes held before they are written
	streamStall  = 30 * time.Second // a client that takes nothing for so long is cut off
	recheckEvery = time.Second      // a caller that has lost its right is cut off after that
)

// Export waits for one of the few places of calls that read everything of an
// account, and holds it until the call ends.
func (c *Call) Export() error {
	account, places := string(c.Account), &c.frame.exports
	if f := places.Take(c.Request.Context(), account); f != nil {
		return f
	}
	c.done = append(c.done, func() { places.Release(account) })
	return nil
}

// Follow is [Call.Export] for calls that go on until their caller leaves.
func (c *Call) Follow() error {
	account, places := string(c.Account), &c.frame.tails
	if f := places.Take(c.Request.Context(), account); f != nil {
		return f
	}
	c.done = append(c.done, func() { places.Release(account) })
	return nil
}

// Stream returns the buffered body of an answer of any length; the handler must
// flush it. Each write to the client has a deadline of its own, in place of one
// for the whole answer, and is sent at once. A handler that fails half-way returns
// the error, and the frame cuts the answer off: no client takes the part for the
// whole.
func (c *Call) Stream() *bufio.Writer {
	p := &patient{w: c.w, control: http.NewResponseController(c.w)}
	c.watch(p)
	return bufio.NewWriterSize(p, streamBuffer)
}

// watch cuts p off when the caller loses its right. Its goroutine ends with the call.
func (c *Call) watch(p *patient) {
	ctx, stop := context.WithCancel(c.Request.Context())
	var running sync.WaitGroup
	c.done = append(c.done, func() { stop(); running.Wait() })
	running.Go(func() {
		tick := time.NewTicker(c.frame.recheck)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// A look-up that fails tells nothing of the right.
			if f := c.Lost(); f != nil && f.Code != fault.Unavailable {
				p.lost.Store(f)
				_ = p.control.SetWriteDeadline(time.Unix(1, 0)) // ends a write that waits for the client
				return
			}
		}
	})
}

// patient is the writer below [Call.Stream].
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
	lost    atomic.Pointer[fault.Error] // set once: the caller may not have the rest
}

func (p *patient) Write(b []byte) (int, error) {
	// A writer without deadlines (a test's) is waited for.
	_ = p.control.SetWriteDeadline(time.Now().Add(streamStall))
	if f := p.lost.Load(); f != nil { // after the deadline was set, for watch does it in the other order
		return 0, f
	}
	n, err := p.w.Write(b)
	if err != nil {
		return n, err
	}
	_ = p.control.Flush()
	return n, nil
}
