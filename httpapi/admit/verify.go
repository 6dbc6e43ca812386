package admit

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// VerifyRequest asks what the proxy would say to a request with Key. What is not
// known of that request is left empty, and the steps that would judge it are
// skipped; a browser is never assumed.
type VerifyRequest struct {
	Key     string `json:"key"`
	IP      string `json:"ip,omitzero"`
	Method  string `json:"method,omitzero"`
	Path    string `json:"path,omitzero"` // as on the request line; a query is ignored
	Units   *int64 `json:"units,omitzero"`
	Consume *bool  `json:"consume,omitzero"` // nil: true; false only looks

	// Caller is the account whose keys may be seen; "" sees all (an operator).
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
}

// VerifyLimit is one policy's standing after the call.
type VerifyLimit struct {
	Limit     int64 `json:"limit"`
	Remaining int64 `json:"remaining"`
	Reset     int64 `json:"reset"` // Unix seconds at which it is whole again
}

// Verify answers q. The fault is of the call itself: a value that cannot be
// (422), or a node that may not judge (503). Wrong keys are answers, and do not
// count against the caller's address: it has a key, and is asking for others.
func (g *Gate) Verify(ctx context.Context, q *VerifyRequest, now time.Time) (VerifyAnswer, *fault.Error) {
	s := g.settings.Load()
	asked, units, f := q.check()
	if f != nil {
		return VerifyAnswer{}, f
	}
	if f := g.Serving(); f != nil {
		return VerifyAnswer{}, f
	}
	asked.serving = true
	var p Pass
	hash, refused := keyHash(q.Key, s.Store.Imported(), g.hasherFor(s.Store.Pepper()))
	if asked.credential = refused; refused == "" {
		if f := p.lookup(s.Store, hash); f != nil {
			return VerifyAnswer{}, f
		}
	}
	if p.Account == nil || q.Caller != "" && p.Account.ID != q.Caller {
		p = Pass{} // another account's key is as unknown as any
	}
	v := decide(subject{p.Record, p.Account}, &asked, &Rule{}, now)
	p.Valid = v.valid
	var out VerifyAnswer
	if p.Record != nil {
		out.KeyID, out.Account, out.Scopes = &p.Record.ID, &p.Account.ID, p.Record.ScopeNames()
		out.Type = p.Record.Type
	}
	code := v.code
	if p.Valid {
		a := g.ask(&p)
		a.Units, a.Look = units, code != "" || q.Consume != nil && !*q.Consume
		charged := g.take(ctx, &p, &a, now)
		if charged != nil && charged.Code == fault.Unavailable {
			return VerifyAnswer{}, charged
		}
		if code == "" && charged != nil {
			code = charged.Code
			if charged.RetryAfter > 0 {
				out.RetryAfter = &charged.RetryAfter
			}
		}
		if charged == nil && !a.Look {
			out.Charged = units
		}
		out.Limits = verifyLimits(&p.Limits, now)
	}
	if out.Valid = code == ""; !out.Valid {
		out.Code = &code
	}
	return out, nil
}

// check reads what q says of the request.
func (q *VerifyRequest) check() (asked request, units int64, f *fault.Error) {
	asked = request{anywhere: q.IP == "", target: Target{Method: q.Method}}
	if q.Key == "" {
		return asked, 0, fault.Newf(fault.InvalidValue, "key: a key is required.")
	}
	if q.IP != "" {
		a, err := netip.ParseAddr(q.IP)
		if err != nil {
			return asked, 0, fault.Newf(fault.InvalidValue, "ip: want an IPv4 or IPv6 address.")
		}
		asked.client = a.WithZone("").Unmap()
	}
	if q.Path != "" {
		if !strings.HasPrefix(q.Path, "/") {
			return asked, 0, fault.Newf(fault.InvalidValue, `path: want a path that begins with "/".`)
		}
		asked.target.Path, _, _ = strings.Cut(q.Path, "?")
	}
	units = 1
	if q.Units != nil {
		if units = *q.Units; units < 0 || units > limiter.MaxBurst {
			return asked, 0, fault.Newf(fault.InvalidValue, "units: want 0 to %d.", limiter.MaxBurst)
		}
	}
	return asked, units, nil
}

func verifyLimits(d *limiter.Decision, now time.Time) map[string]VerifyLimit {
	out := make(map[string]VerifyLimit, d.N)
	for _, st := range d.States[:d.N] {
		out[st.Policy.String()] = VerifyLimit{st.Limit, max(0, st.Remaining), resetAt(now, st.Reset)}
	}
	return out
}
