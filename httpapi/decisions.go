package httpapi

import (
	"net/http"
	"net/netip"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// verdict is [admit.VerifyAnswer] on the wire, where what is not known is null.
type verdict struct {
	Valid      bool                          `json:"valid"`
	Code       *fault.Code                   `json:"code"`
	KeyID      *store.KeyID                  `json:"key_id"`
	Account    *store.AccountID              `json:"account"`
	Scopes     *[]string                     `json:"scopes"`
	Limits     *map[string]admit.VerifyLimit `json:"limits"`
	RetryAfter *int64                        `json:"retry_after"`
}

// verifyKey judges a key as the proxy would judge a request with it.
func verifyKey(c *call, in *admit.VerifyRequest) (any, error) {
	if c.caller.record != nil {
		in.Caller = c.account
	}
	out, f := c.Gate.Verify(c.r.Context(), in, c.now)
	if f != nil {
		return nil, f
	}
	if in.Consume == nil || *in.Consume {
		c.observeVerified(in, &out)
	}
	v := verdict{Valid: out.Valid, Code: out.Code, KeyID: out.KeyID, Account: out.Account, RetryAfter: out.RetryAfter}
	if out.Scopes != nil {
		v.Scopes = &out.Scopes
	}
	if out.Limits != nil {
		v.Limits = &out.Limits
	}
	return v, nil
}

// observeVerified counts a verdict that charges as the request that it stands
// for: it spends the key's limits, so it shows in the key's usage and last use.
func (c *call) observeVerified(in *admit.VerifyRequest, out *admit.VerifyAnswer) {
	if out.KeyID == nil {
		return
	}
	o := &local.Observation{
		At: c.now, RequestID: c.w.Header().Get(fault.RequestIDHeader), Method: in.Method, Route: c.route.path,
		Status: http.StatusOK, Account: *out.Account, Key: *out.KeyID, Type: out.Type,
		Units: out.Charged, Action: c.route.action,
	}
	o.Client, _ = netip.ParseAddr(in.IP) // not given, or read by the gate before
	if out.Code != nil {
		o.Code, o.Status = string(*out.Code), out.Code.Status()
	}
	c.Local.Observe(o)
}

// rateLimit charges a bucket that the caller defines for its own users.
func rateLimit(c *call, in *admit.RateRequest) (any, error) {
	in.Caller = c.account
	out, f := c.Gate.RateLimit(in, c.now)
	if f != nil {
		return nil, f
	}
	return out, nil
}
