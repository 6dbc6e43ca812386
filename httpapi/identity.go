package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// AccountHeader picks the account that an operator's call is about.
const AccountHeader = "X-Perf-Account"

// OperatorPrefix begins the operator tokens that perfgate makes.
const OperatorPrefix = "pgop_"

// NewOperatorToken returns a fresh operator token (262 random bits).
func NewOperatorToken() string { return apikey.NewID(apikey.NewID(OperatorPrefix)) }

// perMinute is the management bucket of each key: calls a minute, all at once
// if need be. Buckets of maxCallers keys that are not whole fit (5 MB).
const (
	perMinute  = 300
	maxCallers = 65_536
)

// pace is that bucket's.
func pace() limiter.Pace { return limiter.Pace{Limit: perMinute, Window: int64(time.Minute)} }

// identify finds out who calls and about which account, and charges the key's
// management bucket.
func (c *call) identify() *fault.Error {
	c.client = c.Gate.Client(c.r)
	if c.admin && c.Client != nil {
		c.client = c.Client(c.r)
	}
	if c.route.access&open != 0 {
		return nil
	}
	if c.admin {
		if id := c.operator(); id != "" {
			c.caller.actor = store.Actor{Type: store.ActorOperator, ID: id}
			return c.pickAccount()
		}
	}
	rule := admit.Rule{Route: c.route.path, Scope: c.route.scope, Management: true}
	pass, f := c.Gate.Check(c.r, c.client, rule, c.now)
	c.hint = pass.Hint
	if rec := pass.Record; rec != nil {
		c.caller.record = rec
		c.caller.actor = store.Actor{Type: store.ActorKey, ID: string(rec.ID)}
		if pass.Account != nil {
			c.account = pass.Account.ID
		}
	}
	if pass.Valid {
		c.showLimits(&pass)
	}
	if f != nil {
		return f
	}
	if c.route.access&operators != 0 {
		return fault.Newf(fault.Forbidden, "Only an operator token may make this call.")
	}
	if want := c.r.Header.Get(AccountHeader); want != "" && want != string(c.account) {
		return fault.Newf(fault.Forbidden, "%s: a key acts on its own account only.", AccountHeader)
	}
	if c.route.access&unmetered == 0 {
		if f := c.charge(); f != nil {
			return f
		}
	}
	if c.route.method != http.MethodGet {
		// The name goes into the audit event of what follows.
		if k, err := c.Store.Key(pass.Record.ID); err == nil && k != nil {
			c.caller.actor.Name = k.Name
		}
	}
	return nil
}

func (c *call) bucket() limiter.Name {
	return limiter.NameOf("management", string(c.caller.record.ID))
}

// showLimits tells a valid key its standing, whatever becomes of the call: that
// of its management bucket, or for calls which that does not count, its traffic's.
func (c *call) showLimits(pass *admit.Pass) {
	if c.route.access&unmetered != 0 {
		c.Gate.Look(c.r.Context(), pass, c.now)
		admit.SetLimitHeaders(c.w.Header(), &pass.Limits, c.now)
		return
	}
	c.setLimits(c.calls.Peek(c.bucket(), pace(), 1, c.mono, limiter.Forever))
}

func (c *call) setLimits(v limiter.Verdict) {
	d := limiter.Decision{N: 1}
	d.States[0] = limiter.State{Policy: limiter.KeyMinute, Limit: perMinute, Remaining: v.Remaining, Reset: v.Reset}
	admit.SetLimitHeaders(c.w.Header(), &d, c.now)
}

// charge takes one call from the key's management bucket, which has nothing to
// do with its traffic's.
func (c *call) charge() *fault.Error {
	v := c.calls.Take(c.bucket(), pace(), 1, c.mono, limiter.Forever)
	c.setLimits(v)
	if v.Allowed {
		return nil
	}
	return &fault.Error{
		Code: fault.RequestsPerMinute, RetryAfter: v.RetryAfter,
		Message: fmt.Sprintf("You have exceeded your rate limit of %d management calls a minute.", perMinute),
	}
}

// operator returns the id of the operator token that r carries, "" if it
// carries none: "op_" and the beginning of the SHA-256 of the stored hash.
func (c *call) operator() string {
	auth := c.r.Header["Authorization"]
	if len(auth) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(auth[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.TrimLeft(token, " ")))
	found := 0
	for _, h := range c.Store.OperatorTokens() {
		found |= subtle.ConstantTimeCompare(sum[:], h[:])
	}
	if found == 0 {
		return ""
	}
	id := sha256.Sum256(sum[:])
	return "op_" + hex.EncodeToString(id[:6])
}

// pickAccount takes the account that an operator names.
func (c *call) pickAccount() *fault.Error {
	c.account = store.DefaultAccount
	if c.route.access&global != 0 {
		return nil
	}
	switch names := c.r.Header.Values(AccountHeader); {
	case len(names) > 1:
		return fault.Newf(fault.InvalidRequest, "%s is given more than once.", AccountHeader)
	case len(names) == 1 && names[0] != "":
		c.account = store.AccountID(names[0])
	}
	// An account that another node has just made must be found here too.
	if c.Store.Cell(c.account) == nil {
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return fault.From(err)
		}
	}
	if c.Store.Cell(c.account) == nil && !c.hasHistory() {
		account := c.account
		c.account = store.DefaultAccount
		return fault.Newf(fault.NotFound, "%s: there is no account %.64q.", AccountHeader, account)
	}
	return nil
}

// hasHistory holds for a deleted account whose audit log is asked for: what was
// done to it stays readable until it is too old.
func (c *call) hasHistory() bool {
	if c.route.id != "auditLogs" {
		return false
	}
	for _, err := range c.Store.Events(store.EventQuery{Account: c.account}) {
		return err == nil
	}
	return false
}
