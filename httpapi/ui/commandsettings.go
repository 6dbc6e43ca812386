package ui

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// accountCommand changes what the form changes, or tries a rule.
func accountCommand(v *visit) ([]*command, error) {
	a, err := v.api.GetAccount(v.context())
	if err != nil {
		return nil, err
	}
	if v.form("do") == "try" {
		for _, r := range a.LimitRules {
			if r.Name == v.form("rule") {
				c := perfgate("limits", "simulate", "--rule", "-")
				return []*command{c}, c.reads(r)
			}
		}
		return nil, fault.Newf(fault.NotFound, "The account has no rule with this name any more.")
	}
	p, err := v.entered().accountPatch(a)
	if err != nil {
		return nil, err
	}
	return changed(perfgate("accounts", "update"), p)
}

func newAccountCommand(v *visit) ([]*command, error) {
	e := v.entered()
	c := perfgate("accounts", "create").flag("tier", e.text("tier")).flag("region", e.text("region"))
	for _, name := range limitNames {
		c.flag(dashed(name), strings.ReplaceAll(e.text("limits_"+name), ",", ""))
	}
	return []*command{c.args(e.text("name"))}, nil
}

func manageAccountCommand(v *visit) ([]*command, error) {
	id := v.r.PathValue("id")
	switch do := v.form("do"); do {
	case "suspend", "resume", "delete":
		return []*command{perfgate("accounts", do).args(id)}, nil
	}
	a, err := v.api.Accounts().Get(v.context(), id)
	if err != nil {
		return nil, err
	}
	p, err := v.entered().managedPatch(a)
	if err != nil {
		return nil, err
	}
	return changed(perfgate("accounts", "update"), p, id)
}

func newTierCommand(v *visit) ([]*command, error) {
	t, err := v.entered().tier()
	if err != nil {
		return nil, err
	}
	c := perfgate("tiers", "create").when(t.Features.IPAllowlist, "ip-allowlist")
	c.limits("live-", &t.Live, false).limits("test-", &t.Test, false)
	if len(t.LimitRules) > 0 {
		err = c.rules(t.LimitRules)
	}
	return []*command{c.args(t.Name)}, err
}

func tierCommand(v *visit) ([]*command, error) {
	name := v.r.PathValue("name")
	if v.form("do") == "delete" {
		return []*command{perfgate("tiers", "delete").args(name)}, nil
	}
	old, err := v.api.Tiers().Get(v.context(), name)
	if err != nil {
		return nil, err
	}
	p, err := v.entered().tierPatch(old)
	if err != nil {
		return nil, err
	}
	return changed(perfgate("tiers", "update"), p, name)
}

// limits adds limits; those that are not set are none, or left out.
func (c *command) limits(prefix string, l *client.Limits, none bool) *command {
	for i, n := range []*int64{l.PerMinute, l.Burst, l.PerMonth, l.MaxConcurrent} {
		switch {
		case n != nil:
			c.flag(prefix+dashed(limitNames[i]), strconv.FormatInt(*n, 10))
		case none:
			c.flag(prefix+dashed(limitNames[i]), "none")
		}
	}
	return c
}

// reads has the command read v as JSON. Angle brackets and the like stay as they are.
func (c *command) reads(v any) error {
	raw, err := json.Marshal(v)
	c.stdin = []string{string(raw)}
	return err
}

func (c *command) rules(rules []client.LimitRule) error {
	if len(rules) == 0 {
		c.flag("limit-rules", "none")
		return nil
	}
	c.flag("limit-rules", "-")
	return c.reads(rules)
}

// changed adds the flags for what a form changes of an account or tier.
func changed(c *command, p client.Patch, args ...string) ([]*command, error) {
	if len(p) == 0 {
		return nil, fault.Newf(fault.InvalidValue, "The form changes nothing yet: change a field first.")
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		switch v := p[name].(type) {
		case string:
			c.flag(dashed(name), v)
		case int64:
			c.flag(dashed(name), strconv.FormatInt(v, 10))
		case []int:
			c.set("alert-at", strings.ReplaceAll(percents(v), " ", ""))
		case *client.Limits:
			if v == nil {
				v = &client.Limits{}
			}
			c.limits("", v, true)
		case client.Limits:
			c.limits(name+"-", &v, true)
		case client.Features:
			c.words = append(c.words, "--ip-allowlist="+strconv.FormatBool(v.IPAllowlist))
		case *client.KeyPolicy:
			c.policy(v)
		case []client.LimitRule:
			if err := c.rules(v); err != nil {
				return nil, err
			}
		default:
			return nil, fault.Newf(fault.InvalidValue, "No command changes %s.", name)
		}
	}
	return []*command{c.args(args...)}, nil
}

// policy adds the key policy as a whole.
func (c *command) policy(p *client.KeyPolicy) {
	if p == nil {
		p = &client.KeyPolicy{}
	}
	most := 0
	if p.MaxKeys != nil {
		most = *p.MaxKeys
	}
	c.set("max-ttl", text(p.MaxTTL)).flag("max-keys", strconv.Itoa(most))
	c.words = append(c.words, "--must-expire="+strconv.FormatBool(p.MustExpire))
}
