package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/store"
)

// AccountHeader picks the account that an operator's call is about.
const AccountHeader = "X-Perf-Account"

// identify establishes the caller and the account that the call is about.
func (c *Call) identify() *fault.Error {
	asked := h1.RequestOf(c.Request)
	c.Client = c.frame.cfg.Gate.Client(asked)
	if find := c.frame.cfg.Client; c.Admin && find != nil {
		c.Client = find(c.Request)
	}
	if c.Route.Access&Open != 0 {
		return nil
	}
	if c.Admin {
		if ok, f := c.identifyPerson(asked); ok || f != nil {
			return f
		}
	}
	return c.identifyKey(asked)
}

// identifyPerson establishes an operator token or a session as the caller; false if the
// request has neither.
func (c *Call) identifyPerson(asked *h1.Request) (bool, *fault.Error) {
	if actor := c.Operator(); actor.ID != "" {
		admit.Vouch(c.Request.Context())
		c.Caller = Caller{Actor: actor, Role: store.RoleOperator}
		if f := c.frame.cfg.Gate.Single(asked); f != nil {
			return true, f
		}
		return true, c.pickAccount()
	}
	b := Browser{c}
	ok, f := b.signedIn()
	if !ok || f != nil {
		return ok, f
	}
	if f := c.frame.cfg.Gate.Single(asked); f != nil {
		return true, f
	}
	return true, b.admitSession()
}

// identifyKey establishes a key as the caller, and charges its management bucket.
func (c *Call) identifyKey(asked *h1.Request) *fault.Error {
	c.rule = admit.Rule{Route: c.Route.Path, Scope: c.Route.Scope, AnyScope: c.Route.Access&AnyScope != 0, Management: true}
	pass, f := c.frame.cfg.Gate.Check(c.Request.Context(), asked, c.Client, c.rule, c.Now)
	c.pass, c.hint = pass, pass.Hint
	if rec := pass.Record; rec != nil {
		c.Caller.Record = rec
		c.Caller.Actor = store.Actor{Type: store.ActorKey, ID: string(rec.ID)}
		if pass.Account != nil {
			c.Account = pass.Account.ID
		}
	}
	switch {
	case !pass.Valid:
	case c.Route.Access&Unmetered == 0:
		c.meter = c.frame.meters.of(pass.Record.ID, c.Account, c.w.Header(), c.Now, c.mono)
		c.meter.look() // a refusal shows it, too
	default:
		c.frame.cfg.Gate.Look(c.Request.Context(), &pass, c.Now)
		admit.SetLimitHeaders(c.w.Header(), &pass.Limits, c.Now)
	}
	switch {
	case f != nil && f.Code == fault.MalformedKey && strings.HasPrefix(bearer(c.Request), OperatorPrefix):
		return fault.Newf(fault.InvalidKey, "There is no such operator token on the admin listener, or it has expired or was deleted; make another with: perfgate tokens create.")
	case f != nil:
		return f
	case c.Route.Access&Operators != 0:
		return fault.Newf(fault.Forbidden, "Only an operator token may make this call.")
	case c.Route.Access&NoKeys != 0:
		return fault.Newf(fault.Forbidden, "A key may not make this call: sign in as a user, or send an operator token.")
	}
	if want := c.Request.Header.Get(AccountHeader); want != "" && want != string(c.Account) {
		return fault.Newf(fault.Forbidden, "%s: a key acts on its own account only.", AccountHeader)
	}
	if c.meter != nil {
		if f := c.meter.takeCall(); f != nil {
			return f
		}
	}
	// The audit event carries the name.
	if k, err := c.frame.cfg.Store.Key(pass.Record.ID); err == nil && k != nil {
		c.Caller.Actor.Name = k.Name
	}
	return nil
}

// Lost is the reason why the caller may not make the call any more, which may have
// waited long for its body: a token or key that is gone, or a right that is.
func (c *Call) Lost() *fault.Error {
	if c.Caller.Session != nil {
		return Browser{c}.lostSession()
	}
	if c.Caller.Actor.Type == store.ActorOperator {
		if c.Operator().ID == "" {
			return fault.Newf(fault.InvalidKey, "The operator token is no longer valid.")
		}
		return nil
	}
	now, _ := c.frame.cfg.Clock()
	return c.frame.cfg.Gate.Lost(h1.RequestOf(c.Request), &c.pass, c.rule, now)
}

// Operator is the operator token that the request carries, as an actor; the zero actor
// if it carries none.
func (c *Call) Operator() store.Actor {
	token := bearer(c.Request)
	if token == "" {
		return store.Actor{}
	}
	o, ok := c.frame.OperatorToken(token)
	if !ok {
		return store.Actor{}
	}
	return store.Actor{Type: store.ActorOperator, ID: o.ID, Name: o.Name}
}

// bearer is the one bearer token of r; "" if there is none.
func bearer(r *http.Request) string {
	auth := r.Header["Authorization"]
	if len(auth) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(auth[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// OperatorToken finds the operator token that is accepted now.
func (f *Frame) OperatorToken(token string) (o store.OperatorToken, ok bool) {
	sum := store.Hash(sha256.Sum256([]byte(token)))
	found := 0
	for _, h := range f.cfg.Store.OperatorTokens() {
		found |= subtle.ConstantTimeCompare(sum[:], h[:])
	}
	if found == 0 {
		return o, false
	}
	now, _ := f.cfg.Clock()
	o = f.cfg.Store.OperatorToken(sum)
	return o, !o.Expired(now)
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
	case len(names) == 1 && names[0] == "":
		// It comes from a variable that is not set, and the call would change another account.
		return fault.Newf(fault.InvalidRequest, "%s is empty; leave it out for the account %q.", AccountHeader, store.DefaultAccount)
	case len(names) == 1:
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
