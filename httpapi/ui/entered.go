package ui

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/span"
)

// entered is what somebody entered in a form.
type entered struct {
	values url.Values
	now    time.Time
}

func (v *visit) entered() entered { return entered{v.r.PostForm, v.ui.cfg.Clock()} }

// text is a value without blanks around it.
func (e entered) text(name string) string { return strings.TrimSpace(e.values.Get(name)) }

// newKey reads the form.
func (e entered) newKey() (*client.NewKey, *fault.Error) {
	k := &client.NewKey{Name: e.text("name"), Type: e.text("type"), Environment: e.text("environment"), Scopes: e.scopes()}
	var faults fault.List
	if len(k.Scopes) == 0 { // left out, the API would take its default, and nobody who unticks every box means that
		faults.Add(fault.Invalid("scopes", "choose at least one: a key without a scope could do nothing"))
	}
	expires, err := e.expiry()
	faults.Add(err)
	k.ExpiresAt = expires
	k.Limits, err = e.limits("")
	faults.Add(err)
	k.MaxCostPerCall, err = e.amount("max_cost_per_call")
	faults.Add(err)
	k.MonthlyBudget, err = e.amount("monthly_budget")
	faults.Add(err)
	k.Routes, k.Allowlist = lines(e.text("routes")), lines(e.text("allowlist"))
	if err := faults.Err(); err != nil {
		return nil, fault.From(err)
	}
	return k, nil
}

// scopes are the boxes that were ticked, and the names in the field for others.
func (e entered) scopes() []string {
	return append(slices.Clone(e.values["scopes"]), strings.FieldsFunc(e.text("other_scopes"), func(r rune) bool { return r == ' ' || r == ',' })...)
}

// expiry is the time that was chosen, nil for never.
func (e entered) expiry() (*time.Time, error) {
	switch chosen := e.text("expires"); chosen {
	case "", "keep":
		return nil, nil
	case "date":
		t, err := time.Parse(time.DateOnly, e.text("expires_on"))
		if err != nil {
			return nil, fault.Invalid("expires_at", "choose the date on which the key expires")
		}
		return &t, nil
	default:
		d, err := span.Parse(chosen)
		if err != nil {
			return nil, fault.Invalid("expires_at", "choose one of the durations")
		}
		return new(e.now.Add(d).UTC().Truncate(time.Second)), nil
	}
}

// limits are limits whose fields begin with prefix, nil if none was entered.
func (e entered) limits(prefix string) (*client.Limits, error) {
	var l client.Limits
	var faults fault.List
	for name, into := range map[string]**int64{
		"requests_per_minute": &l.PerMinute, "burst": &l.Burst, "requests_per_month": &l.PerMonth, "max_concurrent": &l.MaxConcurrent,
	} {
		n, err := e.whole(prefix + name)
		faults.Add(err)
		*into = n
	}
	if l == (client.Limits{}) {
		return nil, faults.Err()
	}
	return &l, faults.Err()
}

// whole is a whole number, nil if none was entered.
func (e entered) whole(name string) (*int64, error) {
	s := e.text(name)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
	if err != nil {
		return nil, fault.Invalid("limits", "%s must be a whole number", strings.ReplaceAll(name, "_", " "))
	}
	return &n, nil
}

// amount is a sum of money, nil if none was entered.
func (e entered) amount(name string) (*json.Number, error) {
	s := e.text(name)
	if s == "" {
		return nil, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil || strings.Trim(s, "0123456789.") != "" {
		return nil, fault.Invalid(name, "must be a decimal number such as 0.01")
	}
	return new(json.Number(s)), nil
}

// lines are the lines of a text that are not blank.
func lines(s string) (out []string) {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// keyPatch reads the form of a key's settings.
func (e entered) keyPatch() (client.Patch, error) {
	k, f := e.newKey()
	if f != nil {
		return nil, f
	}
	list := func(s []string) []string { return append([]string{}, s...) } // an empty list is not null
	p := client.Patch{
		"name": k.Name, "environment": k.Environment, "scopes": list(k.Scopes), "limits": k.Limits,
		"max_cost_per_call": k.MaxCostPerCall, "monthly_budget": k.MonthlyBudget, "routes": list(k.Routes), "allowlist": list(k.Allowlist),
	}
	if e.text("expires") != "keep" {
		p["expires_at"] = k.ExpiresAt
	}
	return p, nil
}

// incidentMatch are the filters of the form; nil if there is none.
func (e entered) incidentMatch() (*client.IncidentMatch, error) {
	m := client.IncidentMatch{IDs: strings.Fields(strings.ReplaceAll(e.text("ids"), ",", " "))}
	for name, into := range map[string]**string{"created_by": &m.CreatedBy, "type": &m.Type, "environment": &m.Environment} {
		if s := e.text(name); s != "" {
			*into = &s
		}
	}
	if s := e.text("created_before"); s != "" {
		t, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return nil, fault.Invalid("match", "created before: choose a date")
		}
		m.CreatedBefore = &t
	}
	if len(m.IDs) == 0 && m.CreatedBy == nil && m.Type == nil && m.Environment == nil && m.CreatedBefore == nil {
		return nil, nil
	}
	return &m, nil
}
