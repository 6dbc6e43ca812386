package rest

import (
	"fmt"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// The share of the management API that all keys of one account have together, so that
// an account cannot get more of it by having more keys. Operators have no bound.
const (
	accountPerMinute = 2 * perMinute // calls; one key in wrong hands leaves as many to the others
	accountBytes     = 64 << 20      // of bodies an hour
	accountBurst     = 16 << 20      // of bodies at once: the largest body of any call
)

// shares hold the buckets of accounts, 5 MB for each kind when they are full. A table
// for each kind, or callers of one kind would push out those of another.
type shares struct {
	calls *limiter.Buckets
	bytes *limiter.Buckets
}

func newShares() shares {
	return shares{calls: limiter.NewBuckets(maxCallers), bytes: limiter.NewBuckets(maxCallers)}
}

func accountPace() limiter.Pace {
	return limiter.Pace{Limit: accountPerMinute, Window: int64(time.Minute)}
}

func bytesPace() limiter.Pace {
	return limiter.Pace{Limit: accountBytes, Burst: accountBurst, Window: int64(time.Hour)}
}

func shareOf(account store.AccountID) limiter.Name {
	return limiter.NameOf("management", string(account))
}

// takeCall takes one call from the share of the caller's account.
func (c *Call) takeCall() *fault.Error {
	v := c.frame.shares.calls.Take(shareOf(c.Account), accountPace(), 1, c.mono, limiter.Forever)
	if v.Allowed {
		return nil
	}
	c.setLimits(limiter.State{Policy: limiter.Minute, Limit: accountPerMinute, Remaining: v.Remaining, Reset: v.Reset})
	return &fault.Error{
		Code: fault.RequestsPerMinute, RetryAfter: v.RetryAfter,
		Message: fmt.Sprintf("You have exceeded your rate limit of %d management calls a minute for all keys of the account.", accountPerMinute),
	}
}

// takeBody takes the bytes of a body from the share of the caller's account.
func (c *Call) takeBody(size int) *fault.Error {
	if c.Caller.Record == nil || c.Route.Access&Unmetered != 0 || size == 0 {
		return nil
	}
	v := c.frame.shares.bytes.Take(shareOf(c.Account), bytesPace(), int64(size), c.mono, limiter.Forever)
	if v.Allowed {
		return nil
	}
	return &fault.Error{
		Code: fault.RequestsPerMinute, RetryAfter: v.RetryAfter,
		Message: fmt.Sprintf("You have exceeded your rate limit of %d MiB of management bodies an hour, %d MiB of them at once, for all keys of the account.",
			accountBytes>>20, accountBurst>>20),
	}
}
