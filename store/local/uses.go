package local

import "sync"

// uses counts the calls that use the database at the moment. The zero value is
// ready.
type uses struct {
	mu     sync.Mutex
	n      int
	state  useState
	change sync.Cond // n became 0, or the pause ended; on mu
}

type useState byte

const (
	usesAllowed useState = iota
	usesPaused           // begin waits
	usesEnded            // begin fails
)

func (u *uses) lock() {
	u.mu.Lock()
	u.change.L = &u.mu
}

// begin counts one use until leave; false after end. It waits out a pause.
func (u *uses) begin() bool {
	u.lock()
	defer u.mu.Unlock()
	for u.state == usesPaused {
		u.change.Wait()
	}
	if u.state == usesEnded {
		return false
	}
	u.n++
	return true
}

func (u *uses) leave() {
	u.lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 {
		u.change.Broadcast()
	}
}

// end lets no use begin any more and waits for those under way; false the second
// time, at once.
func (u *uses) end() bool {
	u.lock()
	defer u.mu.Unlock()
	for u.state == usesPaused {
		u.change.Wait()
	}
	if u.state == usesEnded {
		return false
	}
	u.state = usesEnded
	for u.n > 0 {
		u.change.Wait()
	}
	return true
}

// pause holds up new uses until resume; false if one is under way or after end.
func (u *uses) pause() bool {
	u.lock()
	defer u.mu.Unlock()
	if u.n > 0 || u.state != usesAllowed {
		return false
	}
	u.state = usesPaused
	return true
}

func (u *uses) resume()  { u.unpause(usesAllowed) }
func (u *uses) abandon() { u.unpause(usesEnded) } // as end does, after pause

func (u *uses) unpause(to useState) {
	u.lock()
	defer u.mu.Unlock()
	u.state = to
	u.change.Broadcast()
}
