package signin

import (
	"net/netip"
	"slices"
	"strings"
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
}

// NewGuard returns the guard of one node.
func NewGuard() *Guard {
	return &Guard{limiter.NewForgetful(places), limiter.NewForgetful(places), limiter.NewForgetful(places)}
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

// Wait is how many seconds a must wait before its credentials are looked at; 0: none.
func (g *Guard) Wait(a *Attempt) int64 {
	wait := int64(0)
	if v := g.addresses.Peek(limiter.NameOf("address", a.network()), addressPace, 1, a.Mono, limiter.Forever); !v.Allowed {
		wait = v.RetryAfter
	}
	if a.User == "" {
		return wait
	}
	table, name, pace := g.bucket(a)
	if v := table.Peek(name, pace, 1, a.Mono, limiter.Forever); !v.Allowed {
		wait = max(wait, v.RetryAfter)
	}
	return wait
}

// Failed counts a failure.
func (g *Guard) Failed(a *Attempt) {
	g.addresses.Take(limiter.NameOf("address", a.network()), addressPace, 1, a.Mono, limiter.Forever)
	if a.User == "" {
		return // all strangers would share one bucket
	}
	table, name, pace := g.bucket(a)
	table.Take(name, pace, 1, a.Mono, limiter.Forever)
}
