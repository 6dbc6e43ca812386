package admit

import (
	"context"
	"fmt"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/store"
)

// RateRequest asks a limit that the caller defines as it goes, for its own users:
// Limit in each Window, Burst of them at once.
type RateRequest struct {
	Namespace  string `json:"namespace,omitzero"`
	Identifier string `json:"identifier"`
	Limit      int64  `json:"limit"`
	Window     string `json:"window"` // a duration, 1s to 24h; see [span.Parse]
	Burst      *int64 `json:"burst,omitzero"`
	Units      *int64 `json:"units,omitzero"` // nil: 1; 0 only looks

	// Caller is the account; no two share a bucket.
	Caller store.AccountID `json:"-"`
}

// RateAnswer reports whether the units were taken. Reset is the Unix second at
// which the bucket is whole again; RetryAfter, null when allowed, the whole
// seconds after which the same call passes if no other is served meanwhile.
type RateAnswer struct {
	Allowed    bool   `json:"allowed"`
	Limit      int64  `json:"limit"`
	Remaining  int64  `json:"remaining"`
	Reset      int64  `json:"reset"`
	RetryAfter *int64 `json:"retry_after"`
}

// The bounds of a [RateRequest].
const (
	minWindow   = time.Second
	maxWindow   = 24 * time.Hour
	maxRateText = 256 // bytes of a namespace or identifier
)

// RateLimit answers q. Where the table has no room for one more bucket that is
// in use, it is the caller's turn to choose: 503, not a refusal of an innocent.
func (g *Gate) RateLimit(q *RateRequest, now time.Time) (RateAnswer, *fault.Error) {
	pace, units, f := q.check()
	if f != nil {
		return RateAnswer{}, f
	}
	if f := g.Serving(); f != nil {
		return RateAnswer{}, f
	}
	v, ok := g.rate(q, pace, units)
	if !ok {
		return RateAnswer{}, notReady()
	}
	if v.Full {
		return RateAnswer{}, &fault.Error{Code: fault.Unavailable, RetryAfter: v.RetryAfter,
			Message: "Too many identifiers are in use at once; this one could not be counted."}
	}
	out := RateAnswer{Allowed: v.Allowed, Limit: q.Limit, Remaining: v.Remaining, Reset: resetAt(now, v.Reset)}
	if !v.Allowed {
		out.RetryAfter = &v.RetryAfter
	}
	return out, nil
}

// rate charges units to q's bucket. In a cluster the nodes share it; the limit is a part
// of its name there, since nodes learn of another one only from calls: a bucket with
// another limit counts for itself. False: it is not known yet where minutes are counted.
func (g *Gate) rate(q *RateRequest, pace limiter.Pace, units int64) (v limiter.Verdict, ok bool) {
	_, mono := g.cfg.Clock()
	if g.cfg.Sharing != nil {
		ctx, cancel := context.WithTimeout(context.Background(), chargeWait)
		defer cancel()
		in, ok := g.cfg.Sharing.Pool(ctx)
		if !ok {
			return v, false
		}
		if in != nil {
			name := limiter.NameOf("ratelimit", string(q.Caller), q.Namespace, q.Identifier, fmt.Sprint(pace))
			return g.rateShared(ctx, in, pool.Name(name), limiter.OwnerOf(string(q.Caller), true), pace, units), true
		}
	}
	name := limiter.NameOf("ratelimit", string(q.Caller), q.Namespace, q.Identifier)
	return g.cfg.Buckets.TakeOf(limiter.TableOwner(string(q.Caller)), name, pace, units, mono, g.refilled(mono)), true
}

// rateShared charges a bucket of the pool, after asking other nodes if need be.
func (g *Gate) rateShared(ctx context.Context, in *pool.Pool, name pool.Name, owner pool.Owner, pace limiter.Pace, units int64) limiter.Verdict {
	_, now := g.cfg.Clock()
	deadline := now + int64(shareWait)
	for again := false; ; again = true {
		v, b, low := limiter.TakePooled(in, name, owner, pace, units, now, again)
		if low {
			g.cfg.Sharing.Ahead([]*pool.Bucket{b})
		}
		if v.Allowed || v.Never || v.Full {
			return v
		}
		if _, more := g.cfg.Sharing.Fetch(ctx, []*pool.Bucket{b}, units, deadline); !more {
			return v
		}
		_, now = g.cfg.Clock()
	}
}

// Check names every fault of q.
func (q *RateRequest) Check() error {
	if _, _, f := q.check(); f != nil {
		return f
	}
	return nil
}

// check validates q and returns the bucket and the units that it asks for.
func (q *RateRequest) check() (pace limiter.Pace, units int64, f *fault.Error) {
	var faults fault.List
	if q.Identifier == "" || len(q.Identifier) > maxRateText {
		faults.Add(fault.Invalid("identifier", "must have 1 to %d bytes", maxRateText))
	}
	if len(q.Namespace) > maxRateText {
		faults.Add(fault.Invalid("namespace", "must have at most %d bytes", maxRateText))
	}
	if q.Limit < 1 || q.Limit > limiter.MaxBurst {
		faults.Add(fault.Invalid("limit", "must be 1 to %d", limiter.MaxBurst))
	}
	window, err := span.Parse(q.Window)
	if err != nil || window < minWindow || window > maxWindow {
		faults.Add(fault.Invalid("window", `must be a duration from "1s" to "24h"`))
	}
	pace = limiter.Pace{Limit: q.Limit, Burst: q.Limit, Window: int64(window)}
	if q.Burst != nil {
		if pace.Burst = *q.Burst; pace.Burst < 1 || pace.Burst > limiter.MaxBurst {
			faults.Add(fault.Invalid("burst", "must be 1 to %d", limiter.MaxBurst))
		} else if faults.Len() == 0 && pace.Burst > pace.LongestBurst() {
			faults.Add(fault.Invalid("burst", "must be at most %d with this limit and window: a larger one takes more than 146 years to refill", pace.LongestBurst()))
		}
	}
	units = 1
	if q.Units != nil {
		if units = *q.Units; units < 0 || faults.Len() == 0 && units > pace.Burst {
			faults.Add(fault.Invalid("units", "must be 0 to the burst, %d", pace.Burst))
		}
	}
	if err := faults.Err(); err != nil {
		return limiter.Pace{}, 0, fault.From(err)
	}
	return pace, units, nil
}
