package rest

import "time"

// PerMinute is the management bucket of each key.
const PerMinute = perMinute

// The share of an account.
const (
	AccountPerMinute = accountPerMinute
	AccountBurst     = accountBurst
)

// Recheck sets how often the caller of a streamed answer is judged again.
func (f *Frame) Recheck(every time.Duration) { f.recheck = every }

// LargeBodies is the number of slots of large bodies that are taken.
func (f *Frame) LargeBodies() int {
	f.large.mu.Lock()
	defer f.large.mu.Unlock()
	return f.large.taken
}
