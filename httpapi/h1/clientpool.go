package h1

import (
	"sync"
	"time"
)

// sweepEvery is how often a pool looks for idle connections that have ended or are too
// old.
const sweepEvery = 5 * time.Second

// pool keeps idle connections, the last one used on top: what is not needed grows old and
// is closed. No goroutine waits for an idle connection. It is checked when it is taken,
// and every sweepEvery.
type pool struct {
	most int           // idle connections of each target
	keep time.Duration // how long a connection may be idle; 0: as long as it lives

	mu    sync.Mutex // guards what follows
	idle  map[place][]*persistConn
	timer *time.Timer // runs sweep; nil while no connection is idle
}

// take returns an idle connection to key on which nothing has come since the last answer,
// or nil. Others are closed. unchecked leaves the check to [socket.take], where it can be
// left to that.
func (p *pool) take(key place, unchecked bool) *persistConn {
	for {
		c, now := p.pop(key), time.Now()
		if c == nil {
			return nil
		}
		c.unchecked = unchecked && c.mayTurn() && p.young(c, now)
		if c.unchecked || p.fit(c, now) {
			return c
		}
		c.abort()
	}
}

func (p *pool) pop(key place) *persistConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.idle[key]
	n := len(all) - 1
	if n < 0 {
		return nil
	}
	c := all[n]
	all[n] = nil
	p.idle[key] = all[:n]
	return c
}

// fit reports whether c can carry another request.
func (p *pool) fit(c *persistConn, now time.Time) bool { return p.young(c, now) && c.quiet() }

// young reports whether c has not been idle for too long.
func (p *pool) young(c *persistConn, now time.Time) bool {
	return p.keep == 0 || now.Sub(c.idle) < p.keep
}

// put takes a connection whose last answer has been read to its end. The oldest one makes
// room for it.
func (p *pool) put(c *persistConn) {
	if c.socket.raw == nil {
		c.abort() // it could not be checked
		return
	}
	c.idle, c.reused = time.Now(), true
	c.unuse()
	if old := p.push(c); old != nil {
		old.abort()
	}
}

func (p *pool) push(c *persistConn) (old *persistConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == nil {
		p.idle = map[place][]*persistConn{}
	}
	key := c.place()
	all := p.idle[key]
	if len(all) >= max(p.most, 1) {
		old = all[0]
		copy(all, all[1:])
		all = all[:len(all)-1]
	}
	p.idle[key] = append(all, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.pause(), p.sweep)
	}
	return old
}

// pause is the time between two sweeps.
func (p *pool) pause() time.Duration {
	if p.keep > 0 {
		return min(p.keep, sweepEvery)
	}
	return sweepEvery
}

// sweep closes the idle connections that are no longer fit. The pool is locked for about a
// microsecond for each idle connection.
func (p *pool) sweep() {
	var old []*persistConn
	now := time.Now()
	p.mu.Lock()
	for key, all := range p.idle {
		kept := all[:0]
		for _, c := range all {
			if p.fit(c, now) {
				kept = append(kept, c)
			} else {
				old = append(old, c)
			}
		}
		clear(all[len(kept):])
		if p.idle[key] = kept; len(kept) == 0 {
			delete(p.idle, key)
		}
	}
	if len(p.idle) == 0 {
		p.timer = nil
	} else {
		p.timer.Reset(p.pause())
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// clear closes all idle connections.
func (p *pool) clear() {
	p.mu.Lock()
	all := p.idle
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, conns := range all {
		for _, c := range conns {
			c.Close()
		}
	}
}
