package manage

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// verifier judges keys, as [admit.Gate] does.
type verifier interface {
	Verify(context.Context, admit.Routes, *admit.VerifyRequest, time.Time) (admit.VerifyAnswer, *fault.Error)
}

// Verify serves the call that judges a key for another service.
type Verify struct {
	Gate     verifier
	Routes   admit.Routes // of the proxy listener
	Observer rest.Observer
}

// verdict is [admit.VerifyAnswer] on the wire, where an unknown value is null.
type verdict struct {
	Valid      bool                          `json:"valid"`
	Code       *fault.Code                   `json:"code"`
	KeyID      *store.KeyID                  `json:"key_id"`
	Account    *store.AccountID              `json:"account"`
	Scopes     *[]string                     `json:"scopes"`
	Limits     *map[string]admit.VerifyLimit `json:"limits"`
	RetryAfter *int64                        `json:"retry_after"`
}

// verification is the body of POST /v1/keys/verify.
type verification struct{ admit.VerifyRequest }

// Check implements [rest.Checker].
func (in *verification) Check(*rest.Call) error { return in.VerifyRequest.Check() }

// Key judges a key as the proxy would judge a request with it.
func (h *Verify) Key(c *rest.Call, body *verification) (*verdict, error) {
	in := &body.VerifyRequest
	if !c.Caller.Operates() {
		in.Caller = c.Account
	}
	out, f := h.Gate.Verify(c.Request.Context(), h.Routes, in, c.Now)
	if f != nil {
		return nil, f
	}
	if in.Consume == nil || *in.Consume {
		h.observe(c, in, &out)
	}
	v := &verdict{Valid: out.Valid, Code: out.Code, KeyID: out.KeyID, Account: out.Account, RetryAfter: out.RetryAfter}
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
func (h *Verify) observe(c *rest.Call, in *admit.VerifyRequest, out *admit.VerifyAnswer) {
	if out.KeyID == nil {
		return
	}
	o := &local.Observation{
		At: c.Now, RequestID: c.RequestID(), Method: apikey.Mask(in.Method), Route: c.Route.Path,
		Status: http.StatusOK, Account: *out.Account, Key: *out.KeyID, Type: out.Type,
		Units: out.Charged, Cost: out.Cost, Action: c.Route.Action,
	}
	o.Client, _ = netip.ParseAddr(in.IP) // not given, or read by the gate before
	if out.Code != nil {
		o.Code, o.Status = string(*out.Code), out.Code.Status()
	}
	h.Observer.Observe(o)
}
