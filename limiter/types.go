package limiter

// Limit is one policy set: PerMinute requests a minute with Burst at once, and
// PerMonth in a calendar month. PerMinute or PerMonth 0 sets no such limit;
// Burst 0 means PerMinute.
type Limit struct {
	PerMinute int64
	Burst     int64
	PerMonth  int64
}

// Policy names one of the limits that bind a request, in header order.
type Policy uint8

// The policies.
const (
	Minute Policy = iota
	MonthQuota
	KeyMinute
	KeyMonth
	Budget // of the key, in money; answered with 402, not 429
	policies
)

// Ask is one request to be charged. Times come from the caller.
type Ask struct {
	Now   int64 // monotonic nanoseconds
	Wall  int64 // Unix nanoseconds
	Units int64 // ≥ 0; 0 only looks

	Account Limit
	Key     string // the key's id
	Own     Limit  // the key's own limits; zero: none

	// Fresh buckets (key or account created in this process's life) begin full;
	// others begin with what has refilled since the process's last proof of life.
	AccountFresh, KeyFresh bool

	Budget  int64 // the key's monthly budget in billionths; 0 = none
	Reserve int64 // of it, for this request
}

// State is one policy's standing after the decision.
type State struct {
	Policy    Policy
	Limit     int64 // the policy's requests per minute or month
	Remaining int64
	Reset     int64 // nanoseconds until it is whole again
}

// Decision is the whole answer for one request.
type Decision struct {
	Allowed bool
	// Pending is set, and Allowed is not, when only a chunk of a month that may
	// still be granted is missing: extend (Wants), then ask again.
	Pending bool
	Denied  Policy // which policy refused; meaningful if neither Allowed nor Pending
	// RetryAfter is whole seconds, ≥ 1, after which the same ask passes if
	// nothing else is charged meanwhile.
	RetryAfter int64
	N          int // of States
	States     [4]State
	Binding    int // index into States: fewest requests left, the minute on a tie
	// Wants lists chunks to ask for, ahead of use or (Pending) now. NWants of it are set.
	NWants int
	Wants  [3]Want
}

// Want asks for more of one month's bucket.
type Want struct {
	Policy Policy // MonthQuota, KeyMonth or Budget
	Month  int
	Units  int64
}
