package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// AccountHeader picks the account that an operator's call is about.
const AccountHeader = "X-Perf-Account"

// perMinute is the management bucket of each key: calls a minute, all at once
// if need be. Buckets of maxCallers keys that are not whole fit (5 MB).
const (
	perMinute  = 300
	maxCallers = 65_536
)

// pace is that bucket's.
func pace() limiter.Pace { return limiter.Pace{Limit: perMinute, Window: int64(time.Minute)} }

// identify establishes the caller and the account that the call is about, and
// charges the key's management bucket.
func (c *Call) identify() *fault.Error {
	c.Client = c.frame.cfg.Gate.Client(c.Request)
	if find := c.frame.cfg.Client; c.Admin && find != nil {
		c.Client = find(c.Request)
	}
	if c.Route.Access&Open != 0 {
		return nil
	}
	if c.Admin {
		if id := c.Operator(); id != "" {
			admit.Vouch(c.Request.Context())
			c.Caller.Actor = store.Actor{Type: store.ActorOperator, ID: id}
			return c.pickAccount()
		}
	}
	c.rule = admit.Rule{Route: c.Route.Path, Scope: c.Route.Scope, Management: true}
	pass, f := c.frame.cfg.Gate.Check(c.Request, c.Client, c.rule, c.Now)
	c.pass = pass
	c.hint = pass.Hint
	if rec := pass.Record; rec != nil {
		c.Caller.Record = rec
		c.Caller.Actor = store.Actor{Type: store.ActorKey, ID: string(rec.ID)}
		if pass.Account != nil {
			c.Account = pass.Account.ID
		}
	}
	if pass.Valid {
		c.showLimits(&pass)
	}
	if f != nil {
		return f
	}
	if c.Route.Access&Operators != 0 {
		return fault.Newf(fault.Forbidden, "Only an operator token may make this call.")
	}
	if want := c.Request.Header.Get(AccountHeader); want != "" && want != string(c.Account) {
		return fault.Newf(fault.Forbidden, "%s: a key acts on its own account only.", AccountHeader)
	}
	if c.Route.Access&Unmetered == 0 {
		if f := c.charge(); f != nil {
			return f
		}
	}
	if c.Route.Method != http.MethodGet {
		// The change's audit event carries the name.
		if k, err := c.frame.cfg.Store.Key(pass.Record.ID); err == nil && k != nil {
			c.Caller.Actor.Name = k.Name
		}
	}
	return nil
}

// lost is the reason why the caller may not make the call any more, which may have
// waited long for its body: a token or key that is gone, or a right that is.
func (c *Call) lost() *fault.Error {
	if c.Caller.Actor.Type == store.ActorOperator {
		if c.Operator() == "" {
			return fault.Newf(fault.InvalidKey, "The operator token is no longer valid.")
		}
		return nil
	}
	now, _ := c.frame.cfg.Clock()
	return c.frame.cfg.Gate.Lost(c.Request, &c.pass, c.rule, now)
}

func (c *Call) bucket() limiter.Name {
	return limiter.NameOf("management", string(c.Caller.Record.ID))
}

// showLimits reports to a valid key, however the call ends, the state of its
// management bucket, or of its traffic's limits for calls that are not metered.
func (c *Call) showLimits(pass *admit.Pass) {
	if c.Route.Access&Unmetered != 0 {
		c.frame.cfg.Gate.Look(c.Request.Context(), pass, c.Now)
		admit.SetLimitHeaders(c.w.Header(), &pass.Limits, c.Now)
		return
	}
	c.setLimits(keyState(c.frame.calls.Peek(c.bucket(), pace(), 1, c.mono, limiter.Forever)))
}

func (c *Call) setLimits(s limiter.State) {
	d := limiter.Decision{N: 1}
	d.States[0] = s
	admit.SetLimitHeaders(c.w.Header(), &d, c.Now)
}

func keyState(v limiter.Verdict) limiter.State {
	return limiter.State{Policy: limiter.KeyMinute, Limit: perMinute, Remaining: v.Remaining, Reset: v.Reset}
}

// charge takes one call from the key's management bucket, which is apart from
// its traffic's, and one from the share of its account: in this order, so that a
// key beyond its own bound takes nothing from the others.
func (c *Call) charge() *fault.Error {
	v := c.frame.calls.Take(c.bucket(), pace(), 1, c.mono, limiter.Forever)
	c.setLimits(keyState(v))
	if v.Allowed {
		return c.takeCall()
	}
	return &fault.Error{
		Code: fault.RequestsPerMinute, RetryAfter: v.RetryAfter,
		Message: fmt.Sprintf("You have exceeded your rate limit of %d management calls a minute.", perMinute),
	}
}

// Operator returns the id of the operator token that r carries, "" if it
// carries none: "op_" and the beginning of the SHA-256 of the stored hash.
func (c *Call) Operator() string {
	auth := c.Request.Header["Authorization"]
	if len(auth) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(auth[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.TrimLeft(token, " ")))
	found := 0
	for _, h := range c.frame.cfg.Store.OperatorTokens() {
		found |= subtle.ConstantTimeCompare(sum[:], h[:])
	}
	if found == 0 {
		return ""
	}
	id := sha256.Sum256(sum[:])
	return "op_" + hex.EncodeToString(id[:6])
}

// pickAccount takes the account that the operator's header names.
func (c *Call) pickAccount() *fault.Error {
	c.Account = store.DefaultAccount
	if c.Route.Access&Global != 0 {
		return nil
	}
	switch names := c.Request.Header.Values(AccountHeader); {
	case len(names) > 1:
		return fault.Newf(fault.InvalidRequest, "%s is given more than once.", AccountHeader)
	case len(names) == 1 && names[0] != "":
		if names[0] != string(store.DefaultAccount) && !IsID(names[0], "acct_") {
			return fault.Newf(fault.NotFound, `%s: there is no account %s; the id of one begins with "acct_".`, AccountHeader, Quote(names[0], 64))
		}
		c.Account = store.AccountID(names[0])
	}
	// An account that another node has just made must be found here too.
	if c.frame.cfg.Store.Cell(c.Account) == nil {
		if err := c.Linearize(); err != nil {
			return fault.From(err)
		}
	}
	if c.frame.cfg.Store.Cell(c.Account) == nil && !c.hasHistory() {
		account := c.Account
		c.Account = store.DefaultAccount
		return fault.Newf(fault.NotFound, "%s: there is no account %s.", AccountHeader, Quote(string(account), 64))
	}
	return nil
}

// hasHistory holds for a deleted account in a call about its audit log: its
// events stay readable until they are too old.
func (c *Call) hasHistory() bool {
	if c.Route.Access&History == 0 {
		return false
	}
	for _, err := range c.frame.cfg.Store.Events(store.EventQuery{Account: c.Account}) {
		return err == nil
	}
	return false
}
