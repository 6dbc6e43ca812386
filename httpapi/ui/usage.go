package ui

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// usageView is usage of a range of time, drawn by step and summed by group.
type usageView struct {
	From, To string
	Step     string
	GroupBy  string
	Chart    *chart
	Pace     *pace
	Groups   []usageGroup
	Names    map[string]string // of keys, by id
	Chips    []chip
	Ranges   []usageRange
	Steps    []string
	GroupBys []string
	World    *world           // of a group by country; nil if none is known
	Missing  []client.Missing // nodes whose numbers are not in it
}

// usageRange is a range that a link selects.
type usageRange struct{ Label, From, To, Step string }

// usageGroup is the sum of a group.
type usageGroup struct {
	Name                                           string
	Requests, Denied, Units, Billable, WouldRefuse int64
	Cost                                           string
	Share                                          int64 // of the requests of the busiest group, in percent
}

var usageGroupBys = []string{"key", "status", "country", "route", "type", "environment"}

// usageFilters are the filters of usage, with their labels.
var usageFilters = []chip{{Name: "key", Label: "Key"}, {Name: "type", Label: "Type"}, {Name: "environment", Label: "Environment"}}

// usageQuery is the query that the page's URL states, and the range as times.
func (v *visit) usageQuery() (q client.UsageQuery, from, to time.Time, err error) {
	today := v.ui.cfg.Clock().UTC().Truncate(24 * time.Hour)
	q = client.UsageQuery{
		From: cmp.Or(v.query("from"), today.AddDate(0, 0, -29).Format(time.DateOnly)), To: cmp.Or(v.query("to"), today.Format(time.DateOnly)),
		Step: cmp.Or(v.query("step"), "day"), Key: v.query("key"), Type: v.query("type"), Environment: v.query("environment"),
	}
	var faults fault.List
	if from, err = time.Parse(time.DateOnly, q.From); err != nil {
		faults.Add(fault.Newf(fault.InvalidValue, "From must be a date such as 2024-01-31."))
	}
	if to, err = time.Parse(time.DateOnly, q.To); err != nil {
		faults.Add(fault.Newf(fault.InvalidValue, "To must be a date such as 2024-01-31."))
	}
	if steps[q.Step] == 0 {
		faults.Add(fault.Newf(fault.InvalidValue, "The step must be minute, hour or day."))
	}
	return q, from, to.AddDate(0, 0, 1), faults.Err()
}

func usagePage(v *visit) error {
	q, from, to, err := v.usageQuery()
	if err != nil {
		return err
	}
	today := v.ui.cfg.Clock().UTC().Truncate(24 * time.Hour)
	date := func(days int) string { return today.AddDate(0, 0, days).Format(time.DateOnly) }
	b := usageView{
		From: q.From, To: q.To, Step: q.Step, GroupBy: cmp.Or(v.query("group_by"), "key"), Steps: []string{"day", "hour", "minute"}, GroupBys: usageGroupBys,
		Ranges: []usageRange{
			{"Today", date(0), date(0), "hour"}, {"7 days", date(-6), date(0), "day"}, {"30 days", date(-29), date(0), "day"},
			{"This month", today.AddDate(0, 0, 1-today.Day()).Format(time.DateOnly), date(0), "day"}, {"90 days", date(-89), date(0), "day"},
		},
	}
	for _, c := range usageFilters {
		if c.Value = v.query(c.Name); c.Value != "" {
			b.Chips = append(b.Chips, c)
		}
	}
	q.GroupBy = b.GroupBy
	used, err := v.api.Insight().Usage(v.context(), q)
	if err != nil {
		return err
	}
	rows := used.Data
	b.Missing = used.Missing
	b.Chart, b.Groups = newChart(rows, from, to, q.Step), groupsOf(rows)
	if b.GroupBy == "country" {
		b.World = newWorld(b.Groups)
	}
	if b.GroupBy == "key" {
		ids := make([]string, len(b.Groups))
		for i, g := range b.Groups {
			ids[i] = g.Name
		}
		b.Names = v.namesOf(ids)
	}
	if b.Pace, err = paceOf(v); err != nil {
		return err
	}
	return v.show("usage", "Usage Analytics", b)
}

// maxNames bounds the keys whose names a page looks up, one call each.
const maxNames = 20

// groupsOf sums rows by group, the busiest first.
func groupsOf(rows []client.UsageRow) (groups []usageGroup) {
	at := map[string]int{}
	cost := map[string]*big.Rat{}
	for _, r := range rows {
		name := text(r.Group)
		i, ok := at[name]
		if !ok {
			i = len(groups)
			at[name], cost[name] = i, new(big.Rat)
			groups = append(groups, usageGroup{Name: name})
		}
		g := &groups[i]
		g.Requests += r.Requests
		g.Denied += r.Denied
		g.Units += r.Units
		g.Billable += r.Billable
		g.WouldRefuse += r.WouldRefuse
		if c, ok := new(big.Rat).SetString(r.Cost.String()); ok {
			cost[name].Add(cost[name], c)
		}
	}
	for i := range groups {
		groups[i].Cost = decimal(cost[groups[i].Name])
	}
	slices.SortStableFunc(groups, func(a, b usageGroup) int { return cmp.Compare(b.Requests, a.Requests) })
	for i := range groups {
		groups[i].Share = groups[i].Requests * 100 / max(1, groups[0].Requests)
	}
	return groups
}

// decimal writes a sum of money without rounding: amounts have at most nine places.
func decimal(r *big.Rat) string {
	s := r.FloatString(9)
	whole, fraction, _ := strings.Cut(s, ".")
	if fraction = strings.TrimRight(fraction, "0"); fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// exportUsage sends the rows of the page as CSV.
func exportUsage(v *visit) error {
	q, _, _, err := v.usageQuery()
	if err != nil {
		return err
	}
	q.GroupBy = cmp.Or(v.query("group_by"), "key")
	rows, err := v.rows(q)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	v.w.Header().Set("Content-Disposition", `attachment; filename="usage.csv"`)
	_ = client.WriteUsageCSV(v.w, q.GroupBy, rows) // a client that has gone needs no answer
	return nil
}

// monthOf is the query of the current month's usage.
func monthOf(now time.Time) client.UsageQuery {
	now = now.UTC()
	return client.UsageQuery{From: now.AddDate(0, 0, 1-now.Day()).Format(time.DateOnly), To: now.Format(time.DateOnly), Step: "day"}
}

// rows are the usage that q asks for, over all nodes that answer.
func (v *visit) rows(q client.UsageQuery) ([]client.UsageRow, error) {
	out, err := v.api.Insight().Usage(v.context(), q)
	if err != nil {
		return nil, err
	}
	return out.Data, nil
}
