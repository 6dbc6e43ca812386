package manage

import (
	"errors"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// usageLog is this node's count of usage, as [local.Local] keeps it.
type usageLog interface {
	Usage(local.UsageQuery) ([]local.UsageRow, error)
}

// Usage serves the call that sums usage.
type Usage struct {
	Local usageLog
}

// usageRow is one step of one group. Group is null when nothing was grouped by.
type usageRow struct {
	Time     time.Time `json:"time"`
	Group    *string   `json:"group"`
	Requests int64     `json:"requests"`
	Denied   int64     `json:"denied"`
	Units    int64     `json:"units"`
	Cost     amount    `json:"cost"`
	Billable int64     `json:"billable"`
	Would    int64     `json:"would_refuse"`
}

// Read sums the usage of the account's keys, as this node counted it.
func (h *Usage) Read(c *rest.Call) (any, error) {
	q := c.Query()
	uq := local.UsageQuery{
		Account: c.Account, Key: store.KeyID(q.Text("key")), Environment: q.TextOrNone("environment"),
		Step:    local.Step(q.OneOf("step", "minute", "hour", "day")),
		GroupBy: local.Group(q.OneOf("group_by", "key", "status", "country", "route", "type", "environment")),
	}
	uq.From, uq.To = q.Period("from", "to")
	switch q.OneOf("type", "test", "live") {
	case "test":
		uq.Type = new(store.Test)
	case "live":
		uq.Type = new(store.Live)
	}
	if q.Err() != nil {
		return nil, q.Err()
	}
	if uq.Step == "" {
		uq.Step = local.StepDay
	}
	grouped := uq.GroupBy != local.ByNothing
	if uq.GroupBy == "country" { // no country is known before there is a geography
		uq.GroupBy = local.ByNothing
	}
	if err := c.Export(); err != nil {
		return nil, err
	}
	rows, err := h.Local.Usage(uq)
	if errors.Is(err, local.ErrTooWide) {
		return nil, rest.InvalidQuery("step", "%v", local.ErrTooWide)
	}
	if err != nil {
		return nil, err
	}
	out := struct {
		Data []usageRow `json:"data"`
	}{make([]usageRow, 0, len(rows))}
	for _, r := range rows {
		row := usageRow{Time: r.Time.UTC(), Requests: r.Requests, Denied: r.Denied, Units: r.Units, Cost: amount(r.Cost), Billable: r.Billable, Would: r.Would}
		if grouped {
			row.Group = &r.Group
		}
		out.Data = append(out.Data, row)
	}
	return out, nil
}
