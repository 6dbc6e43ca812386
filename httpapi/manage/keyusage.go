package manage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// defaultPeriod is the time that is looked back where a call names none.
const defaultPeriod = 30 * 24 * time.Hour

// keyUsage is what one key did, and where.
type keyUsage struct {
	ID       store.KeyID `json:"id"`
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	Requests int64       `json:"requests"`
	Denied   int64       `json:"denied"`
	Failed   int64       `json:"failed"`
	Units    int64       `json:"units"`
	Cost     amount      `json:"cost"`
	Billable int64       `json:"billable"`

	Failures  []reasonCount  `json:"failures"`
	Statuses  []statusCount  `json:"statuses"`
	Countries []countryCount `json:"countries"`
	Addresses []addressCount `json:"failing_addresses"`

	LastUsed  *lastUseView    `json:"last_use"`
	UsedFrom  []useView       `json:"used_from"`
	Anomalies []anomaly       `json:"anomalies"`
	Missing   []chain.Missing `json:"missing"`
}

type lastUseView struct {
	At      time.Time `json:"at"`
	IP      *string   `json:"ip"`
	Country *string   `json:"country"`
}

type reasonCount struct {
	Reason   string `json:"reason"`
	Requests int64  `json:"requests"`
}

type statusCount struct {
	Status   string `json:"status"`
	Requests int64  `json:"requests"`
}

// countryCount has the country null where it is not known.
type countryCount struct {
	Country  *string `json:"country"`
	Requests int64   `json:"requests"`
}

type addressCount struct {
	IP       string  `json:"ip"`
	Country  *string `json:"country"`
	Requests int64   `json:"requests"`
}

func lastUseOf(u local.LastUse, ok bool) *lastUseView {
	if !ok {
		return nil
	}
	v := &lastUseView{At: u.At.UTC().Truncate(time.Millisecond), Country: some(u.Country.String())}
	if u.IP.IsValid() {
		v.IP = some(u.IP.String())
	}
	return v
}

func reasonCounts(list []local.FailureCount) []reasonCount {
	return convert(list, func(n local.FailureCount) reasonCount { return reasonCount{n.Value, n.Requests} })
}

func addressCounts(list []local.FailureCount) []addressCount {
	return convert(list, func(n local.FailureCount) addressCount {
		return addressCount{n.Value, some(n.Country), n.Requests}
	})
}

// period reads from and to; the default is the last 30 days.
func period(c *rest.Call, q *rest.Query) (from, to time.Time) {
	from, to = q.Period("from", "to")
	if to.IsZero() {
		to = c.Stamp()
	}
	if from.IsZero() {
		from = to.Add(-defaultPeriod)
	}
	return from.UTC(), to.UTC()
}

// OfKey tells what one key did: how much, from where, and what failed.
func (h *Usage) OfKey(c *rest.Call) (*keyUsage, error) {
	q := c.Query()
	from, to := period(c, q)
	if q.Err() != nil {
		return nil, q.Err()
	}
	k, err := h.Store.Key(store.KeyID(c.Param))
	if err != nil {
		return nil, err
	}
	if k == nil || k.Account != c.Account {
		return nil, fault.Newf(fault.NotFound, "There is no such key in this account.")
	}
	if err := c.Export(); err != nil {
		return nil, err
	}
	ctx := c.Request.Context()
	out := &keyUsage{ID: k.ID, From: from, To: to, UsedFrom: []useView{}, Statuses: []statusCount{}, Countries: []countryCount{}, Missing: []chain.Missing{}}
	// Hours are kept for 90 days, and fit a period better than days do.
	uq := local.UsageQuery{Account: c.Account, Key: k.ID, From: from, To: to, Step: local.StepHour}
	if c.Now.Sub(from) > local.Kept(local.StepHour) {
		uq.Step = local.StepDay
	}
	if err := h.volumes(ctx, uq, out); err != nil {
		return nil, err
	}
	failed, missing, err := h.Observed.Failures(ctx, local.FailureQuery{Account: c.Account, Key: k.ID, From: from, To: to, Most: maxCounts})
	if err != nil {
		return nil, err
	}
	out.miss(missing)
	out.Failures, out.Addresses = reasonCounts(failed.Reasons), addressCounts(failed.Addresses)
	uses, missing := h.Observed.LastUses(ctx, []store.KeyID{k.ID})
	out.miss(missing)
	use, ok := uses[k.ID]
	out.LastUsed = lastUseOf(use, ok)
	// Where the other callers of an account are is nothing for a key that only reads.
	if own := c.Caller.Record; own == nil || own.Scopes&store.ScopeAdmin != 0 {
		profiles, missing, err := h.Observed.Profiles(ctx, []store.KeyID{k.ID})
		if err != nil {
			return nil, err
		}
		out.miss(missing)
		out.UsedFrom = usesWithin(profiles[k.ID].Recent, from, to)
	}
	found, missing, err := h.Observed.Findings(ctx, insight.Query{Account: string(c.Account), Key: string(k.ID), From: c.Now.Add(-openFor), To: c.Now.Add(time.Minute), Most: maxCounts})
	if err != nil {
		return nil, err
	}
	out.miss(missing)
	out.Anomalies = anomalies(found)
	nameMissing(c, out.Missing)
	return out, nil
}

// maxCounts bounds the values of each dimension in an answer.
const maxCounts = 100

// volumes sums usage by country and by status.
func (h *Usage) volumes(ctx context.Context, uq local.UsageQuery, out *keyUsage) error {
	for _, group := range []local.Group{local.ByCountry, local.ByStatus} {
		uq.GroupBy = group
		rows, missing, err := h.Observed.Usage(ctx, uq)
		if errors.Is(err, local.ErrTooWide) {
			return rest.InvalidQuery("from", "%v", local.ErrTooWide)
		}
		if err != nil {
			return err
		}
		out.miss(missing)
		groups := map[string]int64{}
		var all local.UsageRow
		for i := range rows {
			all.Add(&rows[i])
			groups[rows[i].Group] += rows[i].Requests
		}
		for value, n := range groups {
			if group == local.ByCountry {
				out.Countries = append(out.Countries, countryCount{some(value), n})
			} else {
				out.Statuses = append(out.Statuses, statusCount{value, n})
			}
		}
		out.Requests, out.Denied, out.Failed = all.Requests, all.Denied, all.Failed
		out.Units, out.Cost, out.Billable = all.Units, amount(all.Cost), all.Billable
	}
	slices.SortFunc(out.Countries, func(a, b countryCount) int { return cmp.Compare(b.Requests, a.Requests) })
	slices.SortFunc(out.Statuses, func(a, b statusCount) int { return cmp.Compare(a.Status, b.Status) })
	return nil
}

// miss adds the nodes that did not answer to those of an answer of several questions.
func (u *keyUsage) miss(missing []chain.Missing) {
	for _, m := range missing {
		if !slices.ContainsFunc(u.Missing, func(have chain.Missing) bool { return have.Node == m.Node }) {
			u.Missing = append(u.Missing, m)
		}
	}
}
