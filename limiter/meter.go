package limiter

import "sync"

// Meter counts the traffic of one account and key type: the account's own
// buckets and those of its keys that have limits of their own. One mutex covers
// them all, so a request's charges are taken together or not at all.
type Meter struct {
	mu sync.Mutex
}

// NewMeter returns a meter whose buckets are as yet untouched.
func NewMeter() *Meter { return &Meter{} }
