package signin

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perfgate/perfgate/limiter"
)

// The paces of failed sign-ins. One that is beyond them is refused without being looked
// at, so the password that would be right tells nothing.
var (
	// One address: 10 failures, then one in 30 s.
	addressPace = limiter.Pace{Limit: 120, Burst: 10, Window: int64(time.Hour)}
	// One user from all addresses that are not known: 20 failures, then one in 3 min, 480 a
	// day. At that pace 8 random letters last for a million years.
	unknownPace = limiter.Pace{Limit: 20, Burst: 20, Window: int64(time.Hour)}
	// One user from one address that they signed in from: 10 failures, then one in 30 s.
	knownPace = addressPace
)

// places bounds each table of a guard: about 1.4 MB. When all are taken, the ones with the
// fewest failures are forgotten: strangers with many addresses or names must neither lock a user
// out nor keep later failures from being counted.
const places = 1 << 14

// Guard delays guessing. It is safe for concurrent use.
type Guard struct {
	addresses *limiter.Buckets
	users     *limiter.Buckets
	known     *limiter.Buckets

	mu sync.Mutex
	// entered counts attempts that are being looked at, by bucket: each may be a failure
	// that is not counted yet. It has two for each request in progress, and no others.
	entered map[limiter.Name]int64
}

// NewGuard returns the guard of one node.
func NewGuard() *Guard {
	return &Guard{
		addresses: limiter.NewForgetful(places), users: limiter.NewForgetful(places), known: limiter.NewForgetful(places),
		entered: map[limiter.Name]int64{},
	}
}

// Attempt is a sign-in.
type Attempt struct {
	Client netip.Addr
	User   string   // as the client named it; "" counts for the address alone
	Known  []string // addresses that the user signed in from
	Mono   int64    // the monotonic time
}

// network is the client's address, an IPv6 network of 64 bits counting as one.
func (a *Attempt) network() string {
	if a.Client.Is6() {
		p, _ := a.Client.Prefix(64)
		return p.String()
	}
	return a.Client.String()
}

// bucket is the one that the user's failures from this address count in.
func (g *Guard) bucket(a *Attempt) (*limiter.Buckets, limiter.Name, limiter.Pace) {
	user := strings.ToLower(a.User)
	if slices.Contains(a.Known, a.Client.String()) {
		return g.known, limiter.NameOf(user, a.network()), knownPace
	}
	return g.users, limiter.NameOf("user", user), unknownPace
}

// address is the bucket in which all failures from a's network count.
func (a *Attempt) address() limiter.Name { return limiter.NameOf("address", a.network()) }

// Wait is how many seconds a must wait before its credentials are looked at; 0: none. It is
// for credentials that are looked at quickly, and for a first look; see [Guard.Enter].
func (g *Guard) Wait(a *Attempt) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waitLocked(a)
}

func (g *Guard) waitLocked(a *Attempt) int64 {
	wait := g.room(g.addresses, a.address(), addressPace, a.Mono)
	if a.User == "" {
		return wait
	}
	table, name, pace := g.bucket(a)
	return max(wait, g.room(table, name, pace, a.Mono))
}

// room is how many seconds there is no room in a bucket for one more failure, those of the
// entered attempts included.
func (g *Guard) room(table *limiter.Buckets, name limiter.Name, pace limiter.Pace, mono int64) int64 {
	v := table.Peek(name, pace, 1+g.entered[name], mono, limiter.Forever)
	if v.Allowed {
		return 0
	}
	if v.Never { // as many are being looked at as may fail at all
		return 1
	}
	return max(v.RetryAfter, 1)
}

// Enter is [Guard.Wait] for credentials that take long to be looked at: until leave is called,
// a counts as a failure. Otherwise all attempts that wait for a password's hash at the same time
// would be guesses without a bound. A failure is counted before leave.
func (g *Guard) Enter(a *Attempt) (leave func(), wait int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait = g.waitLocked(a); wait > 0 {
		return func() {}, wait
	}
	names := []limiter.Name{a.address()}
	if a.User != "" {
		_, name, _ := g.bucket(a)
		names = append(names, name)
	}
	for _, n := range names {
		g.entered[n]++
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, n := range names {
			if g.entered[n]--; g.entered[n] == 0 {
				delete(g.entered, n)
			}
		}
	}, 0
}

// Failed counts a failure.
func (g *Guard) Failed(a *Attempt) {
	g.addresses.Take(a.address(), addressPace, 1, a.Mono, limiter.Forever)
	if a.User == "" {
		return // all strangers would share one bucket
	}
	table, name, pace := g.bucket(a)
	table.Take(name, pace, 1, a.Mono, limiter.Forever)
}
