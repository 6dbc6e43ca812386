package ui

import (
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
)

// key is the key whose settings the page's form changes; nil for a new one.
func (p *page) key() *client.Key {
	if b, ok := p.Body.(keyStep); ok {
		return b.Key
	}
	return nil
}

// Held are the scopes of the key that the form changes.
func (p *page) Held() map[string]bool {
	held := map[string]bool{}
	if k := p.key(); k != nil {
		for _, s := range k.Scopes {
			held[s] = true
		}
	}
	return held
}

// OtherScopes are those of them that have no box.
func (p *page) OtherScopes() (others []string) {
	k := p.key()
	if k == nil {
		return nil
	}
	boxed := map[string]bool{}
	for _, s := range p.Body.(keyStep).Scopes { // key has found one
		boxed[s.Name] = true
	}
	for _, s := range k.Scopes {
		if !boxed[s] {
			others = append(others, s)
		}
	}
	return others
}

// Value is the content of a field of the form for a key's settings: what was entered, or
// else what the key has.
func (p *page) Value(name string) string {
	k := p.key()
	if p.Posted() || k == nil {
		return p.Form(name)
	}
	l := k.Limits
	if l == nil {
		l = &client.Limits{}
	}
	whole := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	}
	switch name {
	case "name":
		return k.Name
	case "environment":
		return text(k.Environment)
	case "requests_per_minute":
		return whole(l.PerMinute)
	case "burst":
		return whole(l.Burst)
	case "requests_per_month":
		return whole(l.PerMonth)
	case "max_concurrent":
		return whole(l.MaxConcurrent)
	case "max_cost_per_call":
		if k.MaxCostPerCall != nil {
			return k.MaxCostPerCall.String()
		}
	case "monthly_budget":
		if k.MonthlyBudget != nil {
			return k.MonthlyBudget.String()
		}
	case "routes":
		return strings.Join(k.Routes, "\n")
	case "allowlist":
		return strings.Join(k.Allowlist, "\n")
	}
	return ""
}
