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

	// Clock tells the time twice, from one reading: of the wall, and in monotonic
	// nanoseconds, the scale of [limiter.Ask]. nil means the system's, counted from
	// the gate's making.
	Clock func() (now time.Time, mono int64)
	// Serving reports whether this node may admit requests; nil: always.
	Serving func() bool
	// Alone reports whether this node serves without being able to ask for chunks of
	// months: it then goes on with what it knows of them. nil: never.
	Alone func() bool

	// BootIndex is the newest index that the Raft log held when this process
	// started: keys and accounts created later have been charged by nobody else.
	// The store's own BootIndex is not enough, since entries behind it may be
	// applied anew after a crash; the larger of both counts.
	BootIndex uint64
	// Since is the time on Clock from which on no other process can have charged
	// this node's buckets: one that is met for the first time has surely been
	// refilling since. 0 means the gate's making.
	Since int64
	// CountedFrom is the wall time since when months count all that was charged,
	// for [limiter.Ask]; the zero time is always.
	CountedFrom time.Time
	// Buckets are those of [Gate.RateLimit]; nil means a table of its own. They are
	// not swapped by a reload.
	Buckets *limiter.Buckets
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

	countedFrom int64 // Config.CountedFrom as limiter.Ask wants it
}

// ratePlaces bounds the gate's own table for RateLimit: 21 MB when it is full.
const ratePlaces = 1 << 18

// NewGate returns a gate over c.
func NewGate(c Config) *Gate {
	if c.Clock == nil {
		start := time.Now()
		c.Clock = func() (time.Time, int64) {
			now := time.Now()
			return now, int64(now.Sub(start))
		}
	}
	if c.Since == 0 {
		_, c.Since = c.Clock()
	}
	if c.Buckets == nil {
		c.Buckets = limiter.NewBuckets(ratePlaces)
	}
	g := &Gate{failures: newFailures()}
	g.install(c)
	return g
}

// Reload swaps the configuration; requests under way finish with the old one.
// What c leaves out of Clock, BootIndex, Since and Buckets stays as it was, and
// so do the counts of failures.
func (g *Gate) Reload(c Config) {
	old := g.settings.Load()
	if c.Clock == nil {
		c.Clock = old.Clock
	}
	if c.Since == 0 {
		c.Since = old.Since
	}
	c.BootIndex = max(c.BootIndex, old.BootIndex)
	c.Buckets = old.Buckets
	g.install(c)
}

func (g *Gate) install(c Config) {
	c.BootIndex = max(c.BootIndex, c.Store.BootIndex())
	s := &settings{Config: c, hops: newHops(c.Trusted, c.ClientIPHeader)}
	if h := http.CanonicalHeaderKey(c.KeyHeader); h != "Authorization" {
		s.keyHeader = h
	}
	if !c.CountedFrom.IsZero() {
		s.countedFrom = c.CountedFrom.UnixNano()
	}
	g.settings.Store(s)
}

// Client is the address that r is judged by: see section 3 of the contract, last
// paragraph, and hops.client.
func (g *Gate) Client(r *http.Request) netip.Addr {
	return g.settings.Load().hops.client(r.RemoteAddr, r.Header)
}

// Serving is step 4, to be asked again right before an upstream is written to.
func (g *Gate) Serving() *fault.Error {
	if s := g.settings.Load(); s.Serving != nil && !s.Serving() {
		return &fault.Error{Code: fault.NodeIsolated, RetryAfter: 1}
	}
	return nil
}

// Check is steps 2 to 8 of section 3 for a request that rule applies to, judged
// at the wall clock's now. It charges nothing. On a fault, Pass still says what
// is known, for the audit log and the response: Record of a key that was
// recognised, be it a revoked one; Valid and Limits if the key itself was good;
// Hint of one that was not found.
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
		p.hash = hash
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
	return p, g.refuse(s, &p, r, v)
}

// Still is asked right before an upstream is written to, which may be long after
// Check: a body was waited for, a month's chunk, or the process stood still. It
// reports why the request must not pass any more: this node may not serve, or the
// key or its account has changed so that rule would refuse it now. The lease is
// looked at first: one that was got after a revocation implies that the look-up
// behind it sees the revocation.
func (g *Gate) Still(r *http.Request, p *Pass, rule Rule, now time.Time) *fault.Error {
	if f := g.Serving(); f != nil {
		return f
	}
	if p.Record == nil {
		return nil
	}
	s := g.settings.Load()
	again := Pass{Client: p.Client}
	if err := again.lookup(s.Store, p.hash); err != nil {
		return err
	}
	if again.Record == p.Record && again.Account == p.Account && p.Record.Expires == 0 && p.Record.Overlap == 0 {
		return nil // neither has changed
	}
	q := request{serving: true, client: p.Client, browser: isBrowser(r.Header), target: Target{Method: r.Method}}
	if again.Record != nil && len(again.Record.Routes) > 0 {
		q.target = TargetOf(r)
	}
	v := decide(subject{again.Record, again.Account}, &q, &rule, now)
	if v.code == "" {
		return nil
	}
	return &fault.Error{Code: v.code, Scope: v.missing}
}

// refuse makes the fault of a verdict, which counts against the client's address
// if its credential was wrong. A valid key is never refused for what others at
// its address do, since only then is the count asked.
func (g *Gate) refuse(s *settings, p *Pass, r *http.Request, v verdict) *fault.Error {
	f := &fault.Error{Code: v.code, Scope: v.missing}
	switch {
	case v.missing != "":
		f.Message = fmt.Sprintf("The key lacks the scope that this request needs: %s.", v.missing)
	case v.code == fault.NodeIsolated:
		f.RetryAfter = 1
	case counted(v.code):
		p.Hint = hint(r.Header, r.URL.RawQuery, s.keyHeader)
		_, mono := s.Clock()
		if wait := g.failures.take(p.Client, mono); wait > 0 {
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
