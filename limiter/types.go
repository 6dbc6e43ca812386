package limiter

import "github.com/perfgate/perfgate/limiter/pool"

// Limit is one policy set: PerMinute units a minute with Burst at once, and
// PerMonth in a calendar month (UTC). PerMinute or PerMonth 0 sets no such
// limit; Burst 0 means PerMinute.
type Limit struct {
	PerMinute int64
	Burst     int64
	PerMonth  int64
}

// MaxBurst bounds the units in a bucket; a larger burst counts as this one. It
// keeps a bucket's level within 64 bits, with room for one more full charge.
const MaxBurst = 100_000_000

// Bounded returns l with its minute and burst cut to [MaxBurst], the most that a bucket
// enforces. A limit that clients are shown must be bounded first.
func (l Limit) Bounded() Limit {
	l.PerMinute, l.Burst = min(l.PerMinute, MaxBurst), min(l.Burst, MaxBurst)
	return l
}

// burst is how many units the bucket holds.
func (l *Limit) burst() int64 {
	if l.Burst > 0 {
		return min(l.Burst, MaxBurst)
	}
	return min(l.PerMinute, MaxBurst)
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
	// Of a rule: a token bucket, a calendar day, a calendar month.
	RuleBucket
	RuleDay
	RuleMonth
)

// Calendar reports whether p spends chunks of a calendar window rather than a bucket.
func (p Policy) Calendar() bool {
	return p == MonthQuota || p == KeyMonth || p == Budget || p == RuleDay || p == RuleMonth
}

func (p Policy) String() string {
	switch p {
	case Minute:
		return "minute"
	case MonthQuota:
		return "month"
	case KeyMinute:
		return "key-minute"
	case KeyMonth:
		return "key-month"
	case Budget:
		return "budget"
	}
	return "rule" // whose name is in Rule.Name
}

// Ask is one request to be charged. Times come from the caller.
type Ask struct {
	Now   int64 // monotonic nanoseconds (CLOCK_BOOTTIME); a step back counts as standing still
	Wall  int64 // Unix nanoseconds; only the calendar month is read from it
	Units int64 // ≥ 0; 0 charges nothing and is never refused
	Look  bool  // decide for Units and Reserve, and spend nothing
	// Lend is set where chunks of a month cannot be asked for. The request then
	// passes all the same while the month, as far as known, has room: the chunk goes
	// below 0, a debt that the next grant pays.
	Lend bool

	// Shared says that other nodes hold chunks of the same months: the rest may be with them,
	// and has to be recalled before a request is refused.
	Shared bool

	Pooled

	Account Limit
	Key     string // the key's id
	Own     Limit  // the key's own limits; zero: none

	// AccountFresh and KeyFresh say that the account or key was created in this
	// process's life: nothing can have been charged to it before, so its bucket
	// begins full. For any other bucket that is touched for the first time, Refilled
	// is how long it has surely been refilling: the nanoseconds up to Now during
	// which no other process can have charged it. 0 is always safe; [Forever] is
	// right for buckets that the export of a clean stop does not mention.
	AccountFresh, KeyFresh bool
	Refilled               int64

	// CountedFrom is the wall time since when every unit was charged to a month's
	// total that is known here; 0 is always. Units that were charged before that, to
	// a state that was restored since, are in no total: the month then bounds no
	// bucket until that has refilled.
	CountedFrom int64

	Budget  int64 // the key's monthly budget in billionths; 0 = none
	Reserve int64 // of it, for this request; settled later (Meter.Settle)

	Rules []RuleAsk // that apply to the request, each name once; MaxRules at most
}

// Pooled is the part of an [Ask] for minutes that the nodes of a cluster spend together.
type Pooled struct {
	Pool  *pool.Pool // nil: this node counts alone
	Again bool       // this request was counted as demand before
	// Scope and Kind name the account and the key type in the pool, and the created
	// indexes say when the account and the key came to be.
	Scope                      string
	Kind                       byte
	AccountCreated, KeyCreated uint64
}

// Forever is an [Ask.Refilled] that fills every bucket.
const Forever = 1<<63 - 1

// State is one policy's standing after the decision.
type State struct {
	Policy    Policy
	Limit     int64 // the policy's units per minute or month
	Remaining int64
	Reset     int64 // nanoseconds until it is whole again
	// Shared says that other nodes have some of Remaining, and Here what this one has.
	Shared bool
	Here   int64
}

// Decision is the whole answer for one request.
type Decision struct {
	Allowed bool
	// Pending is set, and Allowed is not, when only something of the replicated
	// state is missing: a chunk of a month that may still be granted, or (N is 0
	// then) how much of the month is gone already. Have Wants answered, then ask again.
	Pending bool
	// Never says of a refusal that no wait helps: the request costs more than the
	// policy ever holds.
	Never  bool
	Denied Policy // which policy refused, the longest wait's; meaningful if neither Allowed nor Pending
	// RetryAfter is whole seconds, ≥ 1, after which the same ask passes if
	// nothing else is charged meanwhile (and Never is not set). 0 when allowed.
	RetryAfter int64
	Month      int // the month that it was charged to, as [Want.Month]; for Settle and Refund
	Day        int // the day, as [Want.Month] of a RuleDay
	N          int // of States
	States     [4]State
	Binding    int // index into States and on into Rules.States; see [Decision.Bound]
	// Budget is the standing of the key's budget, in billionths; Limit is 0 without one.
	Budget State
	Rules  *Ruled // nil without rules
	// Wants lists chunks to ask for: now if Pending, ahead of use otherwise (also
	// beside a refusal, now and then). NWants of it are set.
	NWants int
	Wants  [3]Want
	// Short lists the buckets of the pool that lack tokens here, beside a refusal that
	// has no other reason: other nodes may have some. Low lists those to ask for ahead of
	// use.
	NShort, NLow int
	Short, Low   [2]*pool.Bucket
}

// Want asks for more of one month's bucket.
type Want struct {
	Policy Policy // MonthQuota, KeyMonth, Budget, RuleDay or RuleMonth
	Rule   string // of the last two: the rule's name
	Key    string // and the id that it is counted by; "": it is not counted by key
	// Seed says that the month's total is not known here yet: read it from the
	// replicated state, hand it to Meter.Seed, and only then ask for Units.
	Seed  bool
	Month int   // months since year 0, UTC: year*12 + month-1; of RuleDay, days since 1970
	Units int64 // units to ask for; 0: none
	Need  int64 // units that this request lacks; those of waiting requests add up
	// Recall asks for the units of the month that other nodes hold and do not need; once they
	// have given them back, call Meter.Recalled. Only where Ask.Shared is set.
	Recall bool
	// Give says that little is left of the month: give back the units that are at hand here
	// and not needed (Meter.Yield), for other nodes. Only from Settle and Refund.
	Give bool
}

// Of is the name of w's count in the calls that take one; key is the asking key's id.
func (w *Want) Of(key string) string {
	if w.Rule != "" {
		return RuleOf(w.Rule, w.Key)
	}
	return key
}
