package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
)

// maxChecked bounds the keys that one scan asks the server about.
const maxChecked = 10_000

// checker asks the server about the keys that a scan finds, each once.
type checker struct {
	ctx    context.Context
	api    *client.Client
	revoke bool
	known  map[string]checked // by key
	ended  int                // keys that were revoked
	err    error              // the first that the server answered
}

// checked is what the server says of a key.
type checked struct {
	ID    string // "" if it knows none
	State string // alive, revoked, expired, disabled, unknown or unchecked
}

// states are the answers of a verdict about the key itself. A key with any other verdict is
// alive: it is only that this request would be refused.
var states = map[string]string{
	"invalid_key": "unknown", "malformed_key": "unknown", "key_revoked": "revoked", "key_expired": "expired", "key_disabled": "disabled",
}

// check asks about a key that was found at a place, and revokes it if that is asked for.
func (c *checker) check(key, place string) checked {
	if c == nil {
		return checked{}
	}
	if have, ok := c.known[key]; ok {
		return have
	}
	out := checked{State: "unchecked"}
	if len(c.known) < maxChecked && c.err == nil {
		out = c.ask(key, place)
		c.known[key] = out
	}
	return out
}

func (c *checker) ask(key, place string) checked {
	v, err := c.api.VerifyKey(c.ctx, client.VerifyRequest{Key: key, Consume: new(false)})
	if err != nil {
		c.err = err
		return checked{State: "unchecked"}
	}
	out := checked{ID: text(v.KeyID), State: "alive"}
	if state, ok := states[text(v.Code)]; ok {
		out.State = state
	}
	if !c.revoke || out.ID == "" || out.State == "revoked" || out.State == "unknown" {
		return out
	}
	api := *c.api
	api.Account = text(v.Account)
	if _, err := api.RevokeKey(c.ctx, out.ID, clipReason("found by perfgate scan in "+place)); err != nil {
		c.err = fmt.Errorf("revoke %s: %w", out.ID, err)
		return out
	}
	c.ended++
	out.State = "revoked now"
	return out
}

// clipReason cuts a reason to what the API takes.
func clipReason(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return s
}

// String is what is printed after a hint.
func (c checked) String() string {
	return strings.TrimRight(" "+strings.TrimSpace(c.ID+" "+c.State), " ")
}
