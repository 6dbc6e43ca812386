package ui

import (
	"net/url"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// tierForm is the form for a tier.
type tierForm struct {
	Tier  *client.Tier // nil: a new one
	Rules []ruleRow
}

func newTierPage(v *visit) error { return v.askTier(nil, nil) }

func tierPage(v *visit) error {
	t, err := v.api.Tiers().Get(v.context(), v.r.PathValue("name"))
	if err != nil {
		return err
	}
	return v.askTier(t, nil)
}

// askTier shows the form for the tier t, or for a new one.
func (v *visit) askTier(t *client.Tier, problem *fault.Error) error {
	b, title := tierForm{Tier: t, Rules: ruleRows(nil)}, "New tier"
	if t != nil {
		title, b.Rules = t.Name, ruleRows(t.LimitRules)
	}
	if problem != nil {
		b.Rules = v.entered().ruleRows()
	}
	return v.ask("tier", title, b, problem)
}

// tier is the tier that was entered.
func (e entered) tier() (t client.Tier, _ error) {
	var faults fault.List
	t.Name, t.Features.IPAllowlist = e.text("name"), e.text("ip_allowlist") != ""
	for prefix, into := range map[string]*client.Limits{"live_": &t.Live, "test_": &t.Test} {
		l, err := e.limits(prefix)
		faults.Add(err)
		if l != nil {
			*into = *l
		}
	}
	var err error
	t.LimitRules, err = e.rules()
	faults.Add(err)
	return t, faults.Err()
}

func newTier(v *visit) error {
	t, err := v.entered().tier()
	if err == nil {
		if _, err = v.api.Tiers().Create(v.context(), t, v.once()); err == nil {
			return v.see("/tiers")
		}
	}
	f, err := asked(err)
	if f == nil {
		return err
	}
	return v.askTier(nil, f)
}

// changeTier saves the tier, or deletes it.
func changeTier(v *visit) error {
	name := v.r.PathValue("name")
	old, err := v.api.Tiers().Get(v.context(), name)
	if err != nil {
		return err
	}
	if v.form("do") == "delete" {
		if v.form("confirm") != name {
			err = fault.Invalid("confirm", "type the name of the tier to confirm")
		} else if _, err = v.api.Tiers().Delete(v.context(), name); err == nil {
			return v.see("/tiers")
		}
	} else {
		var p client.Patch
		if p, err = v.entered().tierPatch(old); err == nil && len(p) > 0 {
			_, err = v.api.Tiers().Update(v.context(), name, p)
		}
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.askTier(old, f)
	}
	return v.see("/tiers/" + url.PathEscape(name))
}

// tierPatch is what the form changes. Test limits that follow the live ones are shown as
// they come out, and go on following unless they were changed.
func (e entered) tierPatch(old *client.Tier) (client.Patch, error) {
	t, err := e.tier()
	if err != nil {
		return nil, err
	}
	p := client.Patch{}
	t.Live.MaxConcurrent, t.Test.MaxConcurrent = old.Live.MaxConcurrent, old.Test.MaxConcurrent // have no field
	if differs(t.Live, old.Live) {
		p["live"] = t.Live
	}
	if differs(t.Test, old.Test) {
		p["test"] = t.Test
	}
	if t.Features != old.Features {
		p["features"] = t.Features
	}
	if differs(t.LimitRules, append([]client.LimitRule{}, old.LimitRules...)) {
		p["limit_rules"] = t.LimitRules
	}
	return p, nil
}
