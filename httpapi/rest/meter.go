package rest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// perMinute is the management bucket of each key: calls a minute, all at once
// if need be. Buckets of maxCallers keys that are not whole fit (5 MB).
const (
	perMinute  = 300
	maxCallers = 65_536
)

// The share of the management API that all keys of one account have together, so that
// an account cannot get more of it by having more keys. Operators have no bound.
const (
	accountPerMinute = 2 * perMinute // calls; one key in wrong hands leaves as many to the others
	accountBytes     = 64 << 20      // of bodies, and of keys that are written again, an hour
	accountBurst     = 16 << 20      // of them at once: the largest body of any call
)

// meters hold the buckets of management, 5 MB for each kind when they are full. A table
// for each kind, or callers of one kind would push out those of another.
type meters struct {
	keys  *limiter.Buckets // calls, by key; apart from the traffic of the key
	calls *limiter.Buckets // calls, by account
	bytes *limiter.Buckets // of bodies and of keys that are written again, by account
}

func newMeters() meters {
	return meters{keys: limiter.NewBuckets(maxCallers), calls: limiter.NewBuckets(maxCallers), bytes: limiter.NewBuckets(maxCallers)}
}

func keyPace() limiter.Pace {
	return limiter.Pace{Limit: perMinute, Window: int64(time.Minute)}
}

func accountPace() limiter.Pace {
	return limiter.Pace{Limit: accountPerMinute, Window: int64(time.Minute)}
}

func bytesPace() limiter.Pace {
	return limiter.Pace{Limit: accountBytes, Burst: accountBurst, Window: int64(time.Hour)}
}

// meter charges one call of a key that counts. It shows the state of the bucket that
// binds in the headers of the answer.
type meter struct {
	meters  *meters
	key     limiter.Name
	account limiter.Name
	header  http.Header // of the answer
	now     time.Time
	mono    int64 // the monotonic time that belongs to now
}

// of is the meter of a call that a key of account makes.
func (m *meters) of(key store.KeyID, account store.AccountID, header http.Header, now time.Time, mono int64) *meter {
	return &meter{
		meters: m, header: header, now: now, mono: mono,
		key: limiter.NameOf("management", string(key)), account: limiter.NameOf("management", string(account)),
	}
}

// look shows the state of the key's bucket and charges nothing.
func (m *meter) look() {
	m.show(limiter.KeyMinute, perMinute, m.meters.keys.Peek(m.key, keyPace(), 1, m.mono, limiter.Forever))
}

func (m *meter) show(policy limiter.Policy, limit int64, v limiter.Verdict) {
	d := limiter.Decision{N: 1}
	d.States[0] = limiter.State{Policy: policy, Limit: limit, Remaining: v.Remaining, Reset: v.Reset}
	admit.SetLimitHeaders(m.header, &d, m.now)
}

// takeCall takes one call from the key's bucket and one from the share of its account:
// in this order, so that a key beyond its own bound takes nothing from the others.
func (m *meter) takeCall() *fault.Error {
	v := m.meters.keys.Take(m.key, keyPace(), 1, m.mono, limiter.Forever)
	m.show(limiter.KeyMinute, perMinute, v)
	if !v.Allowed {
		return exceeded(limiter.KeyMinute.String(), v, "%d management calls a minute.", perMinute)
	}
	v = m.meters.calls.Take(m.account, accountPace(), 1, m.mono, limiter.Forever)
	if !v.Allowed {
		m.show(limiter.Minute, accountPerMinute, v)
		return exceeded(limiter.Minute.String(), v, "%d management calls a minute for all keys of the account.", accountPerMinute)
	}
	return nil
}

// takeBytes takes bytes that are sent or written from the share of the key's account.
func (m *meter) takeBytes(size int64) *fault.Error {
	v := m.meters.bytes.Take(m.account, bytesPace(), size, m.mono, limiter.Forever)
	if !v.Allowed {
		return exceeded("", v, "%d MiB of management bodies and changed keys an hour, %d MiB of them at once, for all keys of the account.", accountBytes>>20, accountBurst>>20)
	}
	return nil
}

// exceeded is the fault of a bucket that has no room; limit says how much it holds. policy is
// its name in the header RateLimit, "" for a bucket that is not shown there.
func exceeded(policy string, v limiter.Verdict, limit string, numbers ...any) *fault.Error {
	return &fault.Error{
		Code: fault.RequestsPerMinute, RetryAfter: v.RetryAfter, Policy: policy,
		Message: "You have exceeded your rate limit of " + fmt.Sprintf(limit, numbers...),
	}
}
