package ui

import (
	"cmp"
	"context"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// keyTraffic is what a key was used for in the last days. The parts that the role may not
// read are absent.
type keyTraffic struct {
	Chart    *chart
	Tables   []countTable
	Routes   []routeRow // none if a node is missing
	Methods  []string   // the columns of Routes
	Missing  []client.Missing
	Refusals []refusal
}

// routeRow are the requests to one route by method.
type routeRow struct {
	Route    string
	ByMethod map[string]int64
	Requests int64
}

// refusal is a request that was refused, with what its code means.
type refusal struct {
	client.Event
	Means string
}

// The bounds of a key's traffic.
const (
	routesOfKey   = 20
	methodsOfKey  = 8 // each is a call
	refusalsOfKey = 5
)

// trafficOf is the traffic of the key id.
func trafficOf(v *visit, id string) (*keyTraffic, error) {
	today := v.ui.cfg.Clock().UTC().Truncate(24 * time.Hour)
	from, to := today.AddDate(0, 0, 1-daysOfKey), today.AddDate(0, 0, 1)
	q := client.UsageQuery{From: from.Format(time.DateOnly), To: today.Format(time.DateOnly), Step: "day", Key: id}
	used, err := v.api.Insight().Usage(v.context(), q)
	if ok, err := allowed(err); !ok {
		return nil, err
	}
	t := &keyTraffic{Chart: newChart(used.Data, from, to, "day"), Missing: used.Missing}
	if t.Chart.Requests == 0 {
		return t, nil
	}
	sums, err := v.api.Insight().KeyUsage(v.context(), id, q.From, q.To)
	if ok, err := allowed(err); err != nil {
		return nil, err
	} else if ok {
		t.count(sums)
	}
	if len(t.Missing) > 0 {
		return t, nil // each of the calls below would wait for that node again
	}
	return t, t.routes(v, q)
}

// lastHour is the use of a key in the last hour, which a revocation would stop.
type lastHour struct {
	Requests int64             // without those that were refused
	From     []client.UsedFrom // the latest first
	More     bool              // addresses than these, perhaps: a node names its latest ones only
	Missing  []client.Missing
}

// namedAddresses is how many addresses each node names.
const namedAddresses = 8

// hourTime is how long a revocation waits for the use of its key: a node that is away must
// not hold it up.
const hourTime = 2 * time.Second

// lastHourOf is the use of the key id in the last hour; nil where the role may not read it, or
// where it is unknown: no fault keeps anybody from revoking a key.
func lastHourOf(v *visit, id string) (h *lastHour, unknown bool) {
	ctx, stop := context.WithTimeout(v.context(), hourTime)
	defer stop()
	h, err := v.lastHour(ctx, id)
	return h, err != nil
}

func (v *visit) lastHour(ctx context.Context, id string) (*lastHour, error) {
	now := v.ui.cfg.Clock().UTC()
	from, to := now.Add(-time.Hour).Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339)
	used, err := v.api.Insight().Usage(ctx, client.UsageQuery{From: from, To: to, Step: "minute", Key: id})
	if ok, err := allowed(err); !ok {
		return nil, err
	}
	h := &lastHour{Missing: used.Missing}
	for _, r := range used.Data {
		h.Requests += r.Requests - r.Denied
	}
	if h.Requests == 0 || len(h.Missing) > 0 {
		return h, nil // the call below would wait for that node again
	}
	sums, err := v.api.Insight().KeyUsage(ctx, id, from, to)
	if ok, _ := allowed(err); !ok {
		return h, nil // the addresses are the lesser part
	}
	h.From = sums.UsedFrom
	h.More = len(h.From) >= namedAddresses
	return h, nil
}

// count fills the tables of causes and places. Those without rows are left out.
func (t *keyTraffic) count(u *client.KeyUsage) {
	var statuses, causes, countries, addresses []countRow
	for _, r := range u.Statuses {
		statuses = append(statuses, countRow{Value: r.Status, Requests: r.Requests})
	}
	for _, r := range u.Failures {
		causes = append(causes, countRow{Value: r.Reason, Requests: r.Requests})
	}
	for _, r := range u.Countries {
		countries = append(countries, countRow{Value: cmp.Or(text(r.Country), "unknown"), Requests: r.Requests})
	}
	for _, r := range u.Addresses {
		addresses = append(addresses, countRow{Value: r.IP, Note: text(r.Country), Requests: r.Requests})
	}
	for _, c := range []countTable{
		newCounts("By status", "Status", statuses), newCounts("Refused or failed, by cause", "Cause", causes), newCounts("By country", "Country", countries),
		newCounts("Refused or failed, by address", "Address", addresses),
	} {
		if len(c.Rows) > 0 {
			t.Tables = append(t.Tables, c)
		}
	}
}

// routes counts the requests by route and method: usage has one group at a time, so each
// method that was used is a call.
func (t *keyTraffic) routes(v *visit, q client.UsageQuery) error {
	q.GroupBy = "method"
	used, err := v.rows(q)
	if err != nil {
		return err
	}
	for _, g := range groupsOf(used) {
		if g.Name != "" { // else it would ask for all of them
			t.Methods = append(t.Methods, g.Name)
		}
	}
	t.Methods = t.Methods[:min(len(t.Methods), methodsOfKey)]
	slices.Sort(t.Methods)
	q.GroupBy = "route"
	rows := map[string]*routeRow{}
	for _, q.Method = range t.Methods {
		used, err := v.rows(q)
		if err != nil {
			return err
		}
		for _, g := range groupsOf(used) {
			r := rows[g.Name]
			if r == nil {
				r = &routeRow{Route: g.Name, ByMethod: map[string]int64{}}
				rows[g.Name] = r
			}
			r.ByMethod[q.Method] += g.Requests
			r.Requests += g.Requests
		}
	}
	for _, r := range rows {
		t.Routes = append(t.Routes, *r)
	}
	slices.SortFunc(t.Routes, func(a, b routeRow) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Route, b.Route))
	})
	t.Routes = t.Routes[:min(len(t.Routes), routesOfKey)]
	return nil
}

// refusalsOf are the latest requests of a key that were refused.
func refusalsOf(v *visit, id string) (list []refusal, err error) {
	events, _, err := v.events(url.Values{"key": {id}, "outcome": {"denied"}, "action": {"request"}, "limit": {strconv.Itoa(refusalsOfKey)}})
	for _, e := range events {
		list = append(list, refusal{e, fault.New(fault.Code(text(e.Reason))).Sentence()})
	}
	return list, err
}

// binding is the policy of which the least share is left, which a busy key meets first, and
// the share that is used, in percent. It is "" while nothing is used.
func binding(policies []client.Policy) (name string, share int64) {
	least := 1.0
	for _, p := range policies {
		limit, err := p.Limit.Float64()
		left, bad := p.Remaining.Float64()
		if err == nil && bad == nil && limit > 0 && !p.Shadow && left/limit < least {
			name, least = p.Policy, left/limit
		}
	}
	return name, int64(math.Ceil((1 - max(0, least)) * 100))
}
