package httpapi

import (
	"errors"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// usageRow is one step of one group. Group is null when nothing was grouped by.
type usageRow struct {
	Time     time.Time `json:"time"`
	Group    *string   `json:"group"`
	Requests int64     `json:"requests"`
	Denied   int64     `json:"denied"`
	Units    int64     `json:"units"`
	Cost     amount    `json:"cost"`
	Billable int64     `json:"billable"`
}

// readUsage sums what the account's keys used, as this node counted it.
func readUsage(c *call) (any, error) {
	q := c.query("from", "to", "step", "key", "type", "environment", "group_by")
	uq := local.UsageQuery{
		Account: c.account, From: q.instant("from", false), To: q.instant("to", true), Key: store.KeyID(q.text("key")),
		Step:    local.Step(q.word("step", "minute", "hour", "day")),
		GroupBy: local.Group(q.word("group_by", "key", "status", "country", "route", "type", "environment")),
	}
	switch q.word("type", "test", "live") {
	case "test":
		uq.Type = new(store.Test)
	case "live":
		uq.Type = new(store.Live)
	}
	if q.values.Has("environment") {
		uq.Environment = new(q.text("environment"))
	}
	if q.err != nil {
		return nil, q.err
	}
	if !uq.From.IsZero() && !uq.To.IsZero() && uq.To.Before(uq.From) {
		return nil, invalid("to", "is before from")
	}
	if uq.Step == "" {
		uq.Step = local.StepDay
	}
	grouped := uq.GroupBy != local.ByNothing
	if uq.GroupBy == "country" { // no country is known before there is a geography
		uq.GroupBy = local.ByNothing
	}
	rows, err := c.Local.Usage(uq)
	if errors.Is(err, local.ErrTooWide) {
		return nil, invalid("step", "%v", local.ErrTooWide)
	}
	if err != nil {
		return nil, err
	}
	out := struct {
		Data []usageRow `json:"data"`
	}{make([]usageRow, 0, len(rows))}
	for _, r := range rows {
		row := usageRow{Time: r.Time.UTC(), Requests: r.Requests, Denied: r.Denied, Units: r.Units, Cost: amount(r.Cost), Billable: r.Billable}
		if grouped {
			row.Group = &r.Group
		}
		out.Data = append(out.Data, row)
	}
	return out, nil
}
