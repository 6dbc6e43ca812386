package admit

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// VerifyRequest asks for the proxy's decision on a request with Key. Members that
// are not known are left empty. The steps that would judge them are skipped, and
// every route that may take such a request must admit it. A browser is never assumed.
type VerifyRequest struct {
	Key     string `json:"key"`
	IP      string `json:"ip,omitzero"`
	Method  string `json:"method,omitzero"`
	Host    string `json:"host,omitzero"`
	Path    string `json:"path,omitzero"`    // the target, as on the request line
	Units   *int64 `json:"units,omitzero"`   // nil: those of the route
	Consume *bool  `json:"consume,omitzero"` // nil: true; false only looks

	// Caller is the account that the keys must belong to; "" sees all (an operator).
	Caller store.AccountID `json:"-"`
}

// VerifyAnswer is the proxy's verdict. Code is null if the key may pass; the rest
// is null or empty where the key is not known, or not to the caller. RetryAfter
// is whole seconds, with the codes that a wait helps against.
type VerifyAnswer struct {
	Valid      bool                   `json:"valid"`
	Code       *fault.Code            `json:"code"`
	KeyID      *store.KeyID           `json:"key_id"`
	Account    *store.AccountID       `json:"account"`
	Scopes     []string               `json:"scopes"`
	Limits     map[string]VerifyLimit `json:"limits"` // by policy: minute, month, key-minute, key-month
	RetryAfter *int64                 `json:"retry_after"`

	// For the usage of the key that was judged, not for the caller.
	Type    store.KeyType `json:"-"`
	Charged int64         `json:"-"` // units
	Cost    store.Money   `json:"-"` // of the budget
}

// VerifyLimit is one policy's standing after the call.
type VerifyLimit struct {
	Limit     int64 `json:"limit"`
	Remaining int64 `json:"remaining"`
	Reset     int64 `json:"reset"` // Unix seconds at which it is whole again
}

// Verify answers q by the routes of the proxy. The fault is of the call itself: a
// value that cannot be (422), or a node that may not judge (503). Wrong keys are
// answers, and do not count against the caller's address: it has a key, and is
// asking for others.
func (g *Gate) Verify(ctx context.Context, routes Routes, q *VerifyRequest, now time.Time) (VerifyAnswer, *fault.Error) {
	asked, f := q.check()
	if f != nil {
		return VerifyAnswer{}, f
	}
	if f := g.Serving(); f != nil {
		return VerifyAnswer{}, f
	}
	asked.serving = true
	r, demands, f := q.demands(routes)
	if f != nil {
		asked.refused, demands = f.Code, []Demand{{}}
	} else {
		asked.method, asked.path = r.Method, r.Path
	}
	var p Pass
	by := g.keys.hashers()
	key, refused := keyHash(q.Key, g.cfg.Store, by)
	if r != nil && KeyInQuery(r.Query) {
		refused = fault.KeyInQuery
	}
	asked.credential = refused
	if refused == fault.MalformedKey && q.Caller == "" && q.looks() && apikey.Parse(q.Key) != apikey.Malformed {
		// An operator finds an imported key by its secret even where the import stated
		// another prefix than the key has, so that no request with it is looked up.
		sum := apikey.Sum(q.Key)
		key, refused = by.unjudged(&sum), ""
	}
	if refused == "" {
		if f := p.lookup(g, &key); f != nil {
			return VerifyAnswer{}, f
		}
	}
	if p.Account == nil || q.Caller != "" && p.Account.ID != q.Caller {
		p = Pass{} // another account's key is as unknown as any
	}
	bill, code := p.judge(&asked, demands, q.Units, now)
	p.method, p.path = asked.method, asked.path
	if len(demands) == 1 {
		p.route = demands[0].Rule.Route
	}
	return g.verified(ctx, &p, bill, code, q.looks(), now)
}

// looks reports whether q charges nothing.
func (q *VerifyRequest) looks() bool { return q.Consume != nil && !*q.Consume }

// bill is the price of a request by the routes that may take it.
type bill struct {
	units         int64
	reserve, cost store.Money // of the budget: before the request, and the actual cost as far as it is known
}

// judge takes steps 2 to 9 for a request that any of demands may be made of: the
// first refusal answers, and the price is the highest. units replaces the routes' own.
func (p *Pass) judge(asked *request, demands []Demand, units *int64, now time.Time) (b bill, code fault.Code) {
	if len(demands) == 0 {
		return bill{}, fault.NotFound
	}
	for i := range demands {
		d := &demands[i]
		q, rule := *asked, d.Rule
		if rule.Public { // asks for no key: of this one, only its own state is judged
			q.method, rule = "", Rule{Management: true}
		}
		v := decide(subject{p.Record, p.Account}, &q, &rule, now)
		if p.Valid = v.valid; v.code != "" {
			return bill{}, v.code
		}
		if d.Rule.Public {
			continue
		}
		_, reserve, f := d.Price(p.Record)
		if f != nil {
			return bill{}, f.Code
		}
		price := d.Units
		if units != nil && !rule.Management {
			price = *units
		}
		b.units, b.reserve, b.cost = max(b.units, price), max(b.reserve, reserve), max(b.cost, d.Cost)
	}
	return b, ""
}

// verified is the answer about p, which steps 1 to 9 refused with code, "" if they
// did not. It takes step 10; look charges nothing.
func (g *Gate) verified(ctx context.Context, p *Pass, b bill, code fault.Code, look bool, now time.Time) (out VerifyAnswer, _ *fault.Error) {
	if p.Record != nil {
		out.KeyID, out.Account, out.Scopes = &p.Record.ID, &p.Account.ID, p.Record.ScopeNames()
		out.Type = p.Record.Type
	}
	if p.Valid {
		a := g.ask(p)
		if f := g.addRules(p, &a, thisRequest); f != nil {
			return VerifyAnswer{}, f
		}
		a.Units, a.Reserve, a.Look = b.units, int64(b.reserve), look || code != ""
		charged := g.take(ctx, p, &a, now)
		if !a.Look {
			g.watchCharge(p, charged)
		}
		switch {
		case charged != nil && charged.Code == fault.Unavailable:
			return VerifyAnswer{}, charged
		case code == "" && charged != nil:
			code = charged.Code
			if charged.RetryAfter > 0 {
				out.RetryAfter = &charged.RetryAfter
			}
		case charged == nil && !a.Look:
			out.Charged, out.Cost = b.units, b.cost
			g.Settle(p, b.reserve, b.cost)
		}
		out.Limits = verifyLimits(&p.Limits, now)
	}
	if out.Valid = code == ""; !out.Valid {
		out.Code = &code
	}
	return out, nil
}

// Check names every fault of q.
func (q *VerifyRequest) Check() error {
	if _, f := q.check(); f != nil {
		return f
	}
	return nil
}

// check validates q and turns its description of the client into the request to judge.
func (q *VerifyRequest) check() (asked request, f *fault.Error) {
	asked.anywhere = q.IP == ""
	var faults fault.List
	if q.Key == "" {
		faults.Add(fault.Invalid("key", "a key is required"))
	}
	if q.IP != "" {
		a, err := netip.ParseAddr(q.IP)
		if err != nil {
			faults.Add(fault.Invalid("ip", "must be an IPv4 or IPv6 address"))
		}
		asked.client = a.WithZone("").Unmap()
	}
	if q.Path != "" && !strings.HasPrefix(q.Path, "/") {
		faults.Add(fault.Invalid("path", `must begin with "/"`))
	}
	if q.Units != nil && (*q.Units < 0 || *q.Units > limiter.MaxBurst) {
		faults.Add(fault.Invalid("units", "must be 0 to %d", limiter.MaxBurst))
	}
	if err := faults.Err(); err != nil {
		return asked, fault.From(err)
	}
	return asked, nil
}

func verifyLimits(d *limiter.Decision, now time.Time) map[string]VerifyLimit {
	out := make(map[string]VerifyLimit, d.N)
	for _, st := range d.States[:d.N] {
		out[st.Policy.String()] = VerifyLimit{st.Limit, shown(&st), resetAt(now, st.Reset)}
	}
	if d.Rules == nil {
		return out
	}
	for _, st := range d.Rules.States {
		if !st.Rule.Shadow {
			out[st.Rule.Name] = VerifyLimit{st.Limit, shown(&st.State), resetAt(now, st.Reset)}
		}
	}
	return out
}
