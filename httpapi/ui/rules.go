package ui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// maxRuleRows is the number of limit rules that an account or tier may have.
const maxRuleRows = 16

// ruleRow is a limit rule as the fields of a form. Its name is "" in the row for another one.
type ruleRow struct {
	Name, Per, Requests, Window, Burst, Type, Environment, Route, Until string
	Shadow                                                              bool
}

// The words of a rule.
var (
	rulePers    = []string{"account", "key"}
	ruleWindows = []string{"1m", "1h", "1d", "month"}
)

// ruleRows are the rows of a form with some rules, and one for another.
func ruleRows(rules []client.LimitRule) []ruleRow {
	var rows []ruleRow
	for _, r := range rules {
		row := ruleRow{
			Name: r.Name, Per: r.Per, Requests: strconv.FormatInt(r.Requests, 10), Window: r.Window, Shadow: r.Shadow,
			Type: text(r.Match.Type), Environment: text(r.Match.Environment), Route: text(r.Match.Route),
		}
		if r.Burst != nil {
			row.Burst = strconv.FormatInt(*r.Burst, 10)
		}
		if r.Until != nil {
			row.Until = r.Until.UTC().Format(time.DateOnly)
		}
		rows = append(rows, row)
	}
	if len(rows) < maxRuleRows {
		rows = append(rows, ruleRow{Per: rulePers[0], Window: ruleWindows[0]})
	}
	return rows
}

// ruleRows are the rows as they were entered, without those whose name was cleared, and one
// for another rule.
func (e entered) ruleRows() (rows []ruleRow) {
	for i := range maxRuleRows {
		at := fmt.Sprintf("rule%d_", i)
		row := ruleRow{
			Name: e.text(at + "name"), Per: e.text(at + "per"), Requests: e.text(at + "requests"), Window: e.text(at + "window"), Burst: e.text(at + "burst"),
			Type: e.text(at + "type"), Environment: e.text(at + "environment"), Route: e.text(at + "route"), Until: e.text(at + "until"), Shadow: e.text(at+"shadow") != "",
		}
		if row.Name != "" && e.text(at+"remove") == "" {
			rows = append(rows, row)
		}
	}
	if len(rows) < maxRuleRows {
		rows = append(rows, ruleRow{Per: rulePers[0], Window: ruleWindows[0]})
	}
	return rows
}

// rules are the rules that were entered.
func (e entered) rules() ([]client.LimitRule, error) {
	rules := []client.LimitRule{}
	var faults fault.List
	for _, row := range e.ruleRows() {
		if row.Name == "" {
			continue
		}
		number := func(what, s string) *int64 {
			n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
			if err != nil {
				faults.Add(fault.Invalid("limit_rules", "the %s of the rule %s must be a whole number", what, row.Name))
				return new(int64)
			}
			return &n
		}
		r := client.LimitRule{Name: row.Name, Per: row.Per, Window: row.Window, Shadow: row.Shadow, Requests: *number("requests", row.Requests)}
		if row.Burst != "" {
			r.Burst = number("burst", row.Burst)
		}
		if row.Type != "" {
			r.Match.Type = &row.Type
		}
		if row.Environment != "" {
			r.Match.Environment = &row.Environment
		}
		if row.Route != "" {
			r.Match.Route = &row.Route
		}
		if row.Until != "" {
			t, err := time.Parse(time.DateOnly, row.Until)
			if err != nil {
				faults.Add(fault.Invalid("limit_rules", "the end of the rule %s must be a date such as 2024-01-31", row.Name))
			}
			r.Until = &t
		}
		rules = append(rules, r)
	}
	return rules, faults.Err()
}

// RulePers are what a rule may be counted for.
func (p *page) RulePers() []string { return rulePers }

// RuleWindows are the windows that a rule may have.
func (p *page) RuleWindows() []string { return ruleWindows }

// limitField is a field of a form for limits.
type limitField struct{ Name, Label, Value string }

// LimitFields are the fields for the limits of the account or tier that the form changes.
func (p *page) LimitFields(prefix string) []limitField {
	var l client.Limits
	switch b := p.Body.(type) {
	case manageAccountForm:
		if b.Account != nil && b.Account.Limits != nil {
			l = *b.Account.Limits
		}
	case tierForm:
		if b.Tier != nil && prefix == "live_" {
			l = b.Tier.Live
		} else if b.Tier != nil {
			l = b.Tier.Test
		}
	}
	fields := []limitField{{"requests_per_minute", "Per minute", ""}, {"burst", "Burst", ""}, {"requests_per_month", "Per month", ""}}
	for i, stored := range []*int64{l.PerMinute, l.Burst, l.PerMonth} {
		fields[i].Name = prefix + fields[i].Name
		fields[i].Value = p.Entry(fields[i].Name, stored)
	}
	return fields
}

// numbers are whole numbers with commas or blanks between them, in order.
func (e entered) numbers(name string) ([]int, error) {
	list := []int{}
	for _, s := range strings.FieldsFunc(e.text(name), func(r rune) bool { return r == ',' || r == ' ' || r == '%' }) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fault.Invalid(name, "must be whole numbers such as 80, 90, 100")
		}
		list = append(list, n)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
