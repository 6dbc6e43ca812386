package admit

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/pattern"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/store"
)

// Store is the part of the replicated state that admission reads. [store.Store]
// implements it.
type Store interface {
	Lookup(store.Hash) (*store.Record, error) // nil, nil: unknown
	Peppers() store.Peppers
	Imported(prefix string) bool // keys that begin with it were imported; see [store.Store.Imported]
	BootIndex() uint64           // applied index when this process opened the store
	Detail(*store.Record) (*store.Detail, error)
	Cell(store.AccountID) *store.Cell // nil: there is no such account
}

// Granter gets chunks of months and budgets from the replicated state, for the meter
// of key.
type Granter interface {
	// Await returns once the wants have been answered into the meter, granted or
	// refused, or when ctx is done.
	Await(ctx context.Context, account store.AccountID, key *store.Record, wants []limiter.Want)
	// Ask is Await for chunks that are not needed yet: it never blocks.
	Ask(account store.AccountID, key *store.Record, wants []limiter.Want)
}

// Sharer has the minutes that the nodes of a cluster spend together.
type Sharer interface {
	// Pool waits until it is known where minutes are counted: in the pool, or, nil, by this
	// node alone. False: not before ctx ended.
	Pool(ctx context.Context) (*pool.Pool, bool)
	// Fetch asks other nodes for the units that a request lacks in one of the buckets, and
	// waits for news until deadline, on the clock of [limiter.Ask]. It returns the number of
	// questions. False: to try again is of no use.
	Fetch(ctx context.Context, short []*pool.Bucket, units, deadline int64) (asked int, again bool)
	// Ahead asks for tokens that will be needed soon. It does not wait.
	Ahead(low []*pool.Bucket)
}

// Config configures a [Gate]. Store and Grants are required.
type Config struct {
	Store  Store
	Grants Granter

	Trusted        []netip.Prefix // proxies trusted to report the client's address in ClientIPHeader
	ClientIPHeader string         // "" means X-Forwarded-For
	KeyHeader      string         // a header that may carry the key, in addition to Authorization; "" for none

	// Clock returns the time twice, from one reading: of the wall, and in monotonic
	// nanoseconds, the scale of [limiter.Ask]. nil means the system's, counted from
	// [NewGate].
	Clock func() (now time.Time, mono int64)
	// Serving reports whether this node may admit requests; nil: always.
	Serving func() bool
	// Alone reports whether this node serves without being able to ask for chunks of
	// months: it then goes on with the months as far as they are known. nil: never.
	Alone func() bool

	// Sharing has the minutes of a cluster; nil: this node counts them alone.
	Sharing Sharer

	// Shared says that other nodes hold chunks of months, too: see [limiter.Ask].
	Shared bool

	// BootIndex is the newest index that the Raft log held when this process started:
	// keys and accounts created later have been charged by no other process. The
	// store's own BootIndex is not enough, since entries after it may be applied
	// again after a crash; the larger of both counts.
	BootIndex uint64
	// Since is the time on Clock from which on no other process can have charged this
	// node's buckets: one that is met for the first time has surely been refilling
	// since. 0 means the time of [NewGate].
	Since int64
	// CountedFrom is the wall time since when months count all that was charged,
	// for [limiter.Ask]; the zero time is always.
	CountedFrom time.Time
	// Watcher learns of what owners may want to know; nil: nobody does.
	Watcher Watcher
	// Mover takes the keys that are found under a retired pepper; nil: they stay there.
	Mover Mover
	// Buckets are those of [Gate.RateLimit]; nil means a table of its own.
	Buckets *limiter.Buckets
}

// Gate admits requests. It is safe for concurrent use; an admitted request takes
// no lock but those of its account's meter and of one shard of a bounded table.
type Gate struct {
	// Set by NewGate and never changed.
	cfg         Config
	hops        hops
	keyHeader   string // canonical; "" for none
	countedFrom int64  // Config.CountedFrom for limiter.Ask

	keys     keyring
	failures *failures // has its own locks

	preflights *failures        // has its own locks
	reports    *failures        // has its own locks
	malformed  *limiter.Buckets // bodies, by account; see Forgive
	inFlight   limiter.InFlight // by key, where it has a bound
}

// ratePlaces bounds the gate's own table for RateLimit: 21 MB when it is full.
const ratePlaces = 1 << 18

// NewGate returns a gate with the configuration c.
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
	c.BootIndex = max(c.BootIndex, c.Store.BootIndex())
	g := &Gate{cfg: c, hops: newHops(c.Trusted, c.ClientIPHeader), failures: newFailures(failureBurst), preflights: newFailures(preflightBurst), reports: newFailures(reportBurst),
		malformed: limiter.NewBuckets(forgivenAccounts)}
	g.keys.store, g.keys.mover = c.Store, c.Mover
	if h := http.CanonicalHeaderKey(c.KeyHeader); h != "Authorization" {
		g.keyHeader = h
	}
	if !c.CountedFrom.IsZero() {
		g.countedFrom = c.CountedFrom.UnixNano()
	}
	return g
}

// Client is the address that r is judged by: see hops.client.
func (g *Gate) Client(r *h1.Request) netip.Addr {
	return g.hops.client(r.Remote, r.Fields.Values(g.hops.header))
}

// Preflight counts a browser's preflight that passes without a key, and refuses it
// beyond the bound for its address.
func (g *Gate) Preflight(client netip.Addr) *fault.Error {
	_, mono := g.cfg.Clock()
	if wait := g.preflights.take(client, mono); wait > 0 {
		return &fault.Error{Code: fault.RequestsPerMinute, RetryAfter: wait, Message: "You have exceeded your rate limit: too many CORS preflights from this address"}
	}
	return nil
}

// Report counts a report of a leaked key, and refuses it beyond the bound for its address.
func (g *Gate) Report(client netip.Addr) *fault.Error {
	_, mono := g.cfg.Clock()
	if wait := g.reports.take(client, mono); wait > 0 {
		return &fault.Error{Code: fault.RequestsPerMinute, RetryAfter: wait, Message: "You have exceeded your rate limit: too many reports of leaked keys from this address"}
	}
	return nil
}

// Serving is step 4. It is asked again right before an upstream is written to.
func (g *Gate) Serving() *fault.Error {
	if !g.serving() {
		return &fault.Error{Code: fault.NodeIsolated, RetryAfter: 1}
	}
	return nil
}

func (g *Gate) serving() bool { return g.cfg.Serving == nil || g.cfg.Serving() }

// Check takes steps 2 to 8 of admission for a request that rule applies to,
// judged at now on the wall clock. It charges nothing. On a fault, Pass still has
// everything known, for the audit log and the response: Record of a key that was
// recognized, even a revoked one; Valid and Limits if the key itself was good;
// Hint of one that was not found.
//
// A rule that is public admits with an empty pass.
func (g *Gate) Check(ctx context.Context, r *h1.Request, client netip.Addr, rule Rule, now time.Time) (Pass, *fault.Error) {
	p := Pass{Client: client}
	if rule.Public {
		return p, nil
	}
	if !rule.Management {
		p.method, p.path, p.route = r.Method, r.Path, rule.Route
	}
	by := g.keys.hashers()
	p.UpstreamsOwn = rule.PassAuthorization && g.upstreamsOwn(&r.Fields, by)
	key, refused := credential(g.credentials(&r.Fields, &p), r.Query, g.keyHeader, g.cfg.Store, by)
	q := request{credential: refused, serving: g.serving(), client: client}
	if refused == "" && q.serving {
		if err := p.lookup(g, &key); err != nil {
			return p, err
		}
		if p.Record != nil {
			q.browser = isBrowser(&r.Fields)
			q.target(r, p.Record)
		}
	}
	v := decide(subject{p.Record, p.Account}, &q, &rule, now)
	p.Valid, p.Exposed = v.valid, v.exposed
	g.watchCheck(&p, &v)
	if p.Valid {
		Vouch(ctx)
	}
	if v.code == "" {
		return p, nil
	}
	g.Look(ctx, &p, now)
	return p, g.refuse(&p, r, v)
}

// Still is asked right before an upstream is written to, which may be long after
// Check: a body was waited for, a month's chunk, or the process stood still. The
// fault is the reason why the request must not pass any more: this node may not
// serve, or the key or its account has changed so that rule would refuse it now.
// The lease is looked at first: one that was acquired after a revocation implies
// that the look-up after it sees the revocation.
func (g *Gate) Still(r *h1.Request, p *Pass, rule Rule, now time.Time) *fault.Error {
	if f := g.Serving(); f != nil {
		return f
	}
	return g.Lost(r, p, rule, now)
}

// Lost is the reason why rule would refuse r by now: its key or account has been
// revoked, has expired, or has lost a scope, a route or an address since p was
// judged. nil means that r may go on. [fault.Unavailable] means that it is not known. It
// reads r's head, which must not change meanwhile.
func (g *Gate) Lost(r *h1.Request, p *Pass, rule Rule, now time.Time) *fault.Error {
	if p.Record == nil {
		return nil
	}
	again := Pass{Client: p.Client}
	rec, err := g.cfg.Store.Lookup(p.hash)
	if rec == nil && err == nil { // it may have moved to another pepper
		rec, err = g.Find(p.sum) // hashed each time, without remembering: of long requests only
	}
	if err != nil {
		return lookupFault(err)
	}
	again.take(rec)
	if again.Record == p.Record && again.Account == p.Account && p.Record.Expires == 0 && p.Record.Overlap == 0 {
		return nil // neither has changed
	}
	if again.Record != nil && again.Record.ID != p.Record.ID {
		// The credential was imported again, into another account: what it may do there is
		// no right of the key that p was judged for.
		return fault.New(fault.KeyRevoked)
	}
	q := request{serving: true, client: p.Client, browser: isBrowser(&r.Fields)}
	q.target(r, again.Record)
	v := decide(subject{again.Record, again.Account}, &q, &rule, now)
	if v.code == "" {
		return nil
	}
	return &fault.Error{Code: v.code, Scope: v.missing}
}

// refuse makes the fault of a verdict, which counts against the client's address
// if its credential was wrong. A valid key is never refused because of others at
// its address, since the count is asked only for wrong ones.
func (g *Gate) refuse(p *Pass, r *h1.Request, v verdict) *fault.Error {
	f := &fault.Error{Code: v.code, Scope: v.missing}
	switch {
	case v.missing != "":
		f.Message = fmt.Sprintf("The key lacks the scope that this request needs: %s.", v.missing)
	case v.code == fault.NodeIsolated:
		f.RetryAfter = 1
	case counted(v.code):
		p.Hint = hint(g.credentials(&r.Fields, p), r.Query, g.keyHeader)
		g.watchFailure(p, v.code)
		_, mono := g.cfg.Clock()
		if wait := g.failures.take(p.Client, mono); wait > 0 {
			return &fault.Error{Code: fault.TooManyFailures, RetryAfter: wait, Cause: f}
		}
	}
	return f
}

func lookupFault(err error) *fault.Error {
	return fault.Wrap(fault.Unavailable, fmt.Errorf("look up a key: %w", err))
}

// target fills in the method of r, and its path where rec's routes ask for it:
// the escaped one, so that an encoded slash does not divide segments.
func (q *request) target(r *h1.Request, rec *store.Record) {
	q.method = r.Method
	if rec != nil && rec.Routes != nil {
		q.path = r.Path
	}
}

// CompileRoutes is the [store.Config.Routes] of a store that a gate reads: it
// compiles the route patterns of a key.
func CompileRoutes(patterns []string) store.Routes { return pattern.NewSet(patterns) }

func isBrowser(f *h1.Fields) bool { return f.Has("Origin") || f.Has("Sec-Fetch-Site") }
