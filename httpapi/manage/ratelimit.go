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

// Charge charges a bucket that the caller defines for its own users.
func (h *RateLimit) Charge(c *rest.Call, in *admit.RateRequest) (*admit.RateAnswer, error) {
	in.Caller = c.Account
	out, f := h.Gate.RateLimit(in, c.Now)
	if f != nil {
		return nil, f
	}
	return &out, nil
}
