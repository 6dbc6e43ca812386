package ui

import (
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// pace is the use of this month against the month's limit of the account's live keys.
type pace struct {
	Used, Limit int64
	Share       int64      // of the limit, in percent, at most 100
	Month       int64      // at the end of the month, if it goes on like this
	Full        *time.Time // when the limit is reached, if it goes on like this; nil: not this month
}

// newPace extends the use of this month to its end. Nil if the account has no limit of a
// month, or nothing was used.
func newPace(policies []client.Policy, now time.Time) *pace {
	for _, p := range policies {
		limit, err := strconv.ParseInt(p.Limit.String(), 10, 64)
		left, bad := strconv.ParseInt(p.Remaining.String(), 10, 64)
		if p.Policy != "month" || err != nil || bad != nil || limit <= 0 || left >= limit {
			continue
		}
		begin := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		end := begin.AddDate(0, 1, 0)
		gone := max(now.Sub(begin), time.Hour) // less says nothing of the month
		out := &pace{Used: limit - left, Limit: limit, Share: min(100, (limit-left)*100/limit)}
		each := float64(out.Used) / float64(gone)
		out.Month = max(out.Used, int64(each*float64(end.Sub(begin))))
		if out.Month >= limit && left > 0 {
			full := now.Add(time.Duration(float64(left) / each))
			out.Full = &full
		}
		return out
	}
	return nil
}

// Spent reports whether nothing is left of the month.
func (p *pace) Spent() bool { return p.Used >= p.Limit }

// paceOf is the pace of the account's live keys; nil if there is none, or the role may not
// see it.
func paceOf(v *visit) (*pace, error) {
	var out client.List[client.Policy]
	err := v.api.Do(v.context(), "GET", "/v1/limits", map[string][]string{"type": {"live"}}, nil, &out)
	if ok, err := allowed(err); !ok {
		return nil, err
	}
	return newPace(out.Data, v.ui.cfg.Clock().UTC()), nil
}
