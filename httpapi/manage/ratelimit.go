package manage

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// rateLimiter charges buckets, as [admit.Gate] does.
type rateLimiter interface {
	RateLimit(*admit.RateRequest, time.Time) (admit.RateAnswer, *fault.Error)
}

// RateLimit serves the call that limits the users of another service.
type RateLimit struct {
	Gate rateLimiter
}

// charge is the body of POST /v1/ratelimit.
type charge struct{ admit.RateRequest }

// Check implements [rest.Checker].
func (in *charge) Check(*rest.Call) error { return in.RateRequest.Check() }

// Charge charges a bucket that the caller defines for its own users.
func (h *RateLimit) Charge(c *rest.Call, in *charge) (*admit.RateAnswer, error) {
	in.Caller = c.Account
	out, f := h.Gate.RateLimit(&in.RateRequest, c.Now)
	if f != nil {
		return nil, f
	}
	return &out, nil
}
