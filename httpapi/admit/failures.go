package admit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The bound on failed authentications of one address: a bucket of
// failureBurst that regains one in failureEvery, 30 a minute.
const failureBurst = 30

// preflightBurst bounds the preflights of one address that pass without a key, in
// the same way: 600 a minute. A browser remembers the answer to one.
const preflightBurst = 600

// reportBurst bounds the reports of leaked keys of one address, in the same way: 10 a
// minute.
const reportBurst = 10

// The size of the table: failureSets × failureWays addresses in 1 MiB, fixed.
const (
	failureSets  = 1 << 14
	failureWays  = 4
	failureLocks = 1 << 6
)

// failures counts failed authentications by address, an IPv6 network of 64 bits
// counting as one, in a table that never grows.
//
// The price: with more than failureSets × failureWays addresses at work the one
// closest to being forgiven is forgotten early, so some fail more often than they
// should be allowed to. None is refused because of another, short of a collision
// of a keyed 64-bit hash.
type failures struct {
	every, burst int64 // nanoseconds

	seed  maphash.Seed
	locks [failureLocks]sync.Mutex
	sets  [failureSets][failureWays]failure
}

// failure is one address's bucket, as GCRA keeps it: tat is the time, in
// nanoseconds of the monotonic clock, at which the bucket is whole again.
type failure struct {
	tag uint64
	tat int64
}

// newFailures counts up to perMinute events of an address at once, and regains
// that many in a minute.
func newFailures(perMinute int64) *failures {
	return &failures{seed: maphash.MakeSeed(), every: int64(time.Minute) / perMinute, burst: int64(time.Minute)}
}

// take counts one failure of addr at the monotonic time now. Beyond the bound it
// counts nothing and returns the whole seconds, ≥ 1, until the next one is
// counted again.
func (f *failures) take(addr netip.Addr, now int64) (retryAfter int64) {
	tag := f.tag(addr)
	set := tag % failureSets
	mu := &f.locks[set%failureLocks]
	mu.Lock()
	defer mu.Unlock()

	ways := &f.sets[set]
	oldest := 0
	for i := range ways {
		if ways[i].tag == tag {
			oldest = i
			break
		}
		if ways[i].tat < ways[oldest].tat {
			oldest = i
		}
	}
	b := &ways[oldest]
	if b.tag != tag {
		*b = failure{tag: tag, tat: now}
	}
	tat := max(b.tat, now) + f.every
	if over := tat - now - f.burst; over > 0 {
		return max(1, (over+int64(time.Second)-1)/int64(time.Second))
	}
	b.tat = tat
	return 0
}

// tag identifies addr in the table; 0 marks a free place.
func (f *failures) tag(addr netip.Addr) uint64 {
	a := addr.As16() // IPv4 in its mapped form, which no cleared IPv6 address has
	if addr.Is6() {
		clear(a[8:])
	}
	return max(1, maphash.Bytes(f.seed, a[:]))
}

// counted reports whether a refusal with code is a failed authentication: a
// credential was sent, and it was wrong. One that was not looked at for being
// sent twice or in the query string tells its sender nothing and is not counted.
func counted(code fault.Code) bool {
	switch code {
	case fault.MalformedKey, fault.InvalidKey, fault.KeyRevoked, fault.KeyExpired, fault.KeyDisabled:
		return true
	}
	return false
}
