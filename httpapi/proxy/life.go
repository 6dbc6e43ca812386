package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// life is the context of a request on its way to an upstream. It ends when the client
// leaves or the request is killed. A request that nobody waits for needs no channel.
type life struct {
	values context.Context // of the connection

	ended atomic.Bool // cause is set

	mu    sync.Mutex // guards the fields below
	cause error      // why it has ended; nil before
	done  chan struct{}
	call  *h1.Call // under way
}

// end ends l, once.
func (l *life) end(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	l.ended.Store(true)
	if l.done != nil {
		close(l.done)
	}
	call := l.call
	l.mu.Unlock()
	if call != nil {
		call.Abort()
	}
}

// left ends l because the client has left.
func (l *life) left() { l.end(context.Canceled) }

// attach has c aborted when l ends; nil takes it back.
func (l *life) attach(c *h1.Call) {
	l.mu.Lock()
	l.call = c
	over := l.cause != nil
	l.mu.Unlock()
	if over && c != nil {
		c.Abort()
	}
}

// renew makes l a new life, and reports whether it could: nobody may wait for the end of
// the old one.
func (l *life) renew() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != nil {
		return false
	}
	l.values, l.cause, l.call = nil, nil, nil
	l.ended.Store(false)
	return true
}

// Cause is why l has ended; nil while it has not.
func (l *life) Cause() error {
	if !l.ended.Load() {
		return nil // the usual case takes no lock
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Deadline implements [context.Context].
func (l *life) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements [context.Context].
func (l *life) Done() <-chan struct{} {
	l.mu.Lock()
	first := l.done == nil
	if first {
		l.done = make(chan struct{})
		if l.cause != nil {
			close(l.done)
		}
	}
	done := l.done
	l.mu.Unlock()
	if first && l.values != nil {
		h1.WillWait(l.values) // by the goroutine of the request: others ask after it
	}
	return done
}

// Err implements [context.Context].
func (l *life) Err() error {
	if l.Cause() != nil {
		return context.Canceled
	}
	return nil
}

// Value implements [context.Context].
func (l *life) Value(key any) any { return l.values.Value(key) }
