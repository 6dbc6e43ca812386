package manage

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// Observed is what all nodes of the cluster know of requests. The node implements it.
// Each method also lists the nodes that did not answer.
type Observed interface {
	// Usage sums the usage of an account's requests. It answers [local.ErrTooWide] for too
	// many rows.
	Usage(context.Context, local.UsageQuery) ([]local.UsageRow, []chain.Missing, error)
	// Failures sums failed requests.
	Failures(context.Context, local.FailureQuery) (local.FailureCounts, []chain.Missing, error)
	// LastUses finds when keys were last used; it waits for a short time only.
	LastUses(context.Context, []store.KeyID) (map[store.KeyID]local.LastUse, []chain.Missing)
	// Findings lists what was unusual, the newest first.
	Findings(context.Context, insight.Query) ([]insight.Finding, []chain.Missing, error)
	// Profiles are what is known of keys; those of keys without use are missing.
	Profiles(context.Context, []store.KeyID) (map[store.KeyID]insight.Profile, []chain.Missing, error)
}

// Usage serves the call that sums usage.
type Usage struct {
	Store    keyReader
	Observed Observed
}

// keyReader finds a key.
type keyReader interface {
	Key(store.KeyID) (*store.Key, error)
}

// usageRow is one step of one group. Group is null when nothing was grouped by, and for an
// unknown country.
type usageRow struct {
	Time     time.Time `json:"time"`
	Group    *string   `json:"group"`
	Requests int64     `json:"requests"`
	Denied   int64     `json:"denied"`
	Failed   int64     `json:"failed"`
	Units    int64     `json:"units"`
	Cost     amount    `json:"cost"`
	Billable int64     `json:"billable"`
	Would    int64     `json:"would_refuse"`
}

// viewUsage is a row without its group.
func viewUsage(r *local.UsageRow) usageRow {
	return usageRow{Time: r.Time.UTC(), Requests: r.Requests, Denied: r.Denied, Failed: r.Failed, Units: r.Units, Cost: amount(r.Cost), Billable: r.Billable, Would: r.Would}
}

// usageRows is the answer of GET /v1/usage.
type usageRows struct {
	Data    []usageRow      `json:"data"`
	Missing []chain.Missing `json:"missing"`
}

// unknownPlace selects requests whose country is not known.
const unknownPlace = "unknown"

// readUsage reads the parameters of GET /v1/usage.
func readUsage(c *rest.Call) (local.UsageQuery, error) {
	q := c.Query()
	groups := make([]string, len(local.Groups))
	for i, g := range local.Groups {
		groups[i] = string(g)
	}
	uq := local.UsageQuery{
		Account: c.Account, Key: store.KeyID(q.Text("key")), Environment: q.TextOrNone("environment"),
		Route: q.Text("route"), Method: q.OneOf("method", local.UsageMethods...),
		Step: local.Step(q.OneOf("step", "minute", "hour", "day")), GroupBy: local.Group(q.OneOf("group_by", groups...)),
	}
	uq.From, uq.To = q.Period("from", "to")
	switch q.OneOf("type", "test", "live") {
	case "test":
		uq.Type = new(store.Test)
	case "live":
		uq.Type = new(store.Live)
	}
	if q.Has("status") {
		n, err := strconv.Atoi(q.Text("status"))
		if err != nil || n < 100 || n > 599 {
			return uq, rest.InvalidQuery("status", "must be a status code from 100 to 599")
		}
		uq.Status = n
	}
	if code := q.Text("country"); code == unknownPlace {
		uq.Country = new("")
	} else if code != "" {
		if uq.Country = &code; local.CountryOf(code).String() != code {
			return uq, rest.InvalidQuery("country", "must be two capital letters (ISO 3166), or %q", unknownPlace)
		}
	}
	if uq.Step == "" {
		uq.Step = stepFor(uq.From, uq.To, c.Now)
	}
	return uq, q.Err()
}

// The longest times for which minutes and hours are the default steps, and for how long they
// are kept.
const (
	minutesFor, minutesKept = 2 * time.Hour, 48 * time.Hour
	hoursFor, hoursKept     = 48 * time.Hour, 90 * 24 * time.Hour
)

// stepFor is the default step of a time: usage is summed over whole steps, so that a day's
// step would answer for one hour with the whole day. Whole days need no shorter step.
func stepFor(from, to, now time.Time) local.Step {
	whole := func(t time.Time) bool { return t.Equal(t.Truncate(24 * time.Hour)) } // also zero
	if from.IsZero() || whole(from) && whole(to) {
		return local.StepDay
	}
	if to.IsZero() {
		to = now
	}
	switch length, age := to.Sub(from), now.Sub(from); {
	case length <= minutesFor && age <= minutesKept:
		return local.StepMinute
	case length <= hoursFor && age <= hoursKept:
		return local.StepHour
	}
	return local.StepDay
}

// Read sums the usage of the account's keys over all nodes.
func (h *Usage) Read(c *rest.Call) (*usageRows, error) {
	uq, err := readUsage(c)
	if err != nil {
		return nil, err
	}
	if err := c.Export(); err != nil {
		return nil, err
	}
	rows, missing, err := h.Observed.Usage(c.Request.Context(), uq)
	if errors.Is(err, local.ErrTooWide) {
		return nil, rest.InvalidQuery("step", "%v", local.ErrTooWide)
	}
	if err != nil {
		return nil, err
	}
	nameMissing(c, missing)
	out := &usageRows{Data: make([]usageRow, 0, len(rows)), Missing: missing}
	for _, r := range rows {
		row := viewUsage(&r)
		if uq.GroupBy != local.ByNothing && (uq.GroupBy != local.ByCountry || r.Group != "") {
			row.Group = &r.Group
		}
		out.Data = append(out.Data, row)
	}
	return out, nil
}
