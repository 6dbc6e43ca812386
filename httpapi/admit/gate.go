package admit

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Store is what admission reads of the replicated state; [store.Store] is one.
type Store interface {
	Lookup(store.Hash) (*store.Record, error) // nil, nil: unknown
	Pepper() store.Hash
	Imported() bool    // keys of foreign forms may exist
	BootIndex() uint64 // applied index when this process opened the store
}

// Granter gets chunks of months and budgets from the replicated state.
type Granter interface {
	// Await returns once the wants have been answered into m, granted or refused,
	// or when ctx is done.
	Await(ctx context.Context, m *limiter.Meter, account store.AccountID, t store.KeyType, key store.KeyID, wants []limiter.Want)
	// Ask is Await for what is not needed yet: it never blocks.
	Ask(m *limiter.Meter, account store.AccountID, t store.KeyType, key store.KeyID, wants []limiter.Want)
}

// Config is what a gate is made of. Everything may change with [Gate.Reload].
type Config struct {
	Store  Store
	Grants Granter

	Trusted        []netip.Prefix // peers whose ClientIPHeader is believed
	ClientIPHeader string         // "" means X-Forwarded-For
	KeyHeader      string         // a header besides Authorization that may carry the key; "" for none

	// Clock tells the time twice: of the wall, with Go's monotonic reading, and in
	// monotonic nanoseconds, the scale of [limiter.Ask]. Both must run alike. nil
	// means the system's clock, counted from the gate's making.
	Clock func() (now time.Time, mono int64)
	// Serving reports whether this node may admit requests; nil: always.
	Serving func() bool
	// Since is the monotonic time from which on no other process can have charged
	// this node's buckets: one that is met for the first time has surely been
	// refilling since. 0 means the gate's making.
	Since int64
}

// Gate admits requests. It is safe for concurrent use; nothing on the way of an
// admitted request is locked but the bounded tables' shards and the account's meter.
type Gate struct {
	settings atomic.Pointer[settings]
	hasher   atomic.Pointer[apikey.Hasher]
	failures *failures
}

// settings is a Config in the form that requests read: immutable, swapped whole.
type settings struct {
	Config
	hops      hops
	keyHeader string // canonical

	// Where the two scales of Clock meet.
	origin     time.Time
	originMono int64
}

// NewGate returns a gate over c.
func NewGate(c Config) *Gate {
	g := &Gate{failures: newFailures()}
	g.Reload(c)
	return g
}

// Reload swaps the configuration; requests under way finish with the old one.
// Counts of failures, and the clock if c has none, go on.
func (g *Gate) Reload(c Config) {
	s := &settings{Config: c, hops: newHops(c.Trusted, c.ClientIPHeader)}
	if old := g.settings.Load(); old != nil {
		s.origin, s.originMono = old.origin, old.originMono
		if c.Clock == nil {
			s.Clock = old.Clock
		}
		if c.Since == 0 {
			s.Since = old.Since
		}
	} else {
		if c.Clock == nil {
			start := time.Now()
			s.Clock = func() (time.Time, int64) {
				now := time.Now()
				return now, int64(now.Sub(start))
			}
		}
		s.origin, s.originMono = s.Clock()
		if c.Since == 0 {
			s.Since = s.originMono
		}
	}
	if h := http.CanonicalHeaderKey(c.KeyHeader); h != "Authorization" {
		s.keyHeader = h
	}
	g.settings.Store(s)
}

// mono is now on the scale of [limiter.Ask], without asking the clock again.
func (s *settings) mono(now time.Time) int64 { return s.originMono + int64(now.Sub(s.origin)) }

// Client is the address that r is judged by: see section 3 of the contract, last
// paragraph, and hops.client.
func (g *Gate) Client(r *http.Request) netip.Addr {
	return g.settings.Load().hops.client(r.RemoteAddr, r.Header)
}

// Serving is step 4, to be asked again right before an upstream is written to.
func (g *Gate) Serving() *fault.Error {
	if s := g.settings.Load(); s.Serving != nil && !s.Serving() {
		return fault.New(fault.NodeIsolated)
	}
	return nil
}

// Check is steps 2 to 8 of section 3 for a request that rule applies to. It
// charges nothing. On a fault, Pass still says what is known, for the audit log
// and the response: Record of a key that was recognised, be it a revoked one;
// Valid and Limits if the key itself was good; Hint of one that was not found.
//
// A rule that is public admits with an empty pass.
func (g *Gate) Check(r *http.Request, client netip.Addr, rule Rule, now time.Time) (Pass, *fault.Error) {
	p := Pass{Client: client}
	if rule.Public {
		return p, nil
	}
	s := g.settings.Load()
	hash, refused := credential(r.Header, r.URL.RawQuery, s.keyHeader, s.Store.Imported(), g.hasherFor(s.Store.Pepper()))
	q := request{credential: refused, serving: s.Serving == nil || s.Serving(), client: client}
	if refused == "" && q.serving {
		if err := p.lookup(s.Store, hash); err != nil {
			return p, err
		}
		if p.Record != nil {
			q.browser = isBrowser(r.Header)
			q.target = Target{Method: r.Method}
			if len(p.Record.Routes) > 0 {
				q.target = TargetOf(r)
			}
		}
	}
	v := decide(subject{p.Record, p.Account}, &q, &rule, now)
	p.Valid, p.Exposed = v.valid, v.exposed
	if v.code == "" {
		return p, nil
	}
	g.Look(r.Context(), &p, now)
	return p, g.refuse(s, &p, r, v, now)
}

// refuse makes the fault of a verdict, which counts against the client's address
// if its credential was wrong. A valid key is never refused for what others at
// its address do, since only then is the count asked.
func (g *Gate) refuse(s *settings, p *Pass, r *http.Request, v verdict, now time.Time) *fault.Error {
	f := &fault.Error{Code: v.code, Scope: v.missing}
	switch {
	case v.missing != "":
		f.Message = fmt.Sprintf("The key lacks the scope that this request needs: %s.", v.missing)
	case v.code == fault.NodeIsolated:
		f.RetryAfter = 1
	case counted(v.code):
		p.Hint = hint(r.Header, r.URL.RawQuery, s.keyHeader)
		if wait := g.failures.take(p.Client, s.mono(now)); wait > 0 {
			return &fault.Error{Code: fault.TooManyFailures, RetryAfter: wait, Cause: f}
		}
	}
	return f
}

// lookup fills in the key of hash and its account as it is now.
func (p *Pass) lookup(from Store, hash store.Hash) *fault.Error {
	rec, err := from.Lookup(hash)
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("look up a key: %w", err))
	}
	if rec != nil {
		p.Record, p.Account = rec, rec.Account.Load()
	}
	return nil
}

// hasherFor returns the hasher for pepper, which changes when the cluster is
// initialized or restored from another one's backup.
func (g *Gate) hasherFor(pepper store.Hash) *apikey.Hasher {
	if h := g.hasher.Load(); h != nil && h.Pepper() == pepper {
		return h
	}
	h := apikey.NewHasher(pepper)
	g.hasher.Store(h)
	return h
}

func isBrowser(h http.Header) bool { return len(h["Origin"]) > 0 || len(h["Sec-Fetch-Site"]) > 0 }
