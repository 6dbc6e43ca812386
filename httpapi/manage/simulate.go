package manage

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/pattern"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// replayLog is this node's record of traffic, as [local.Local] keeps it.
type replayLog interface {
	Replay(account store.AccountID, step local.Step, from, to time.Time, use func(*local.Traffic) error) error
}

// Simulate serves the call that runs a proposed limit over recorded traffic.
type Simulate struct {
	Local replayLog
}

// proposal is the body of POST /v1/limits/simulate: a limit per minute or a rule.
type proposal struct {
	PerMinute *int64     `json:"requests_per_minute"`
	Burst     *int64     `json:"burst"`
	Rule      *ruleBody  `json:"rule"`
	Type      *string    `json:"type"`
	Key       *string    `json:"key"`
	From      *time.Time `json:"from"`
	To        *time.Time `json:"to"`
}

// simulation is the answer.
type simulation struct {
	From          time.Time         `json:"from"`
	To            time.Time         `json:"to"`
	Resolution    string            `json:"resolution"`
	Limit         int64             `json:"limit"`
	Window        string            `json:"window"`
	Requests      int64             `json:"requests"`
	WouldRefuse   spread            `json:"would_refuse"`
	LowestLimit   lowest            `json:"lowest_limit"`
	FirstRefusals []simulatedMinute `json:"first_refusals"`
	Notes         []string          `json:"notes"`
}

// spread is a number of requests if they came evenly within each step, and if all at once.
type spread struct {
	Even   int64 `json:"even"`
	AtOnce int64 `json:"at_once"`
}

// lowest is the lowest limit that refuses nothing, if requests came evenly within each
// step, and whenever they came.
type lowest struct {
	Even    int64 `json:"even"`
	Certain int64 `json:"certain"`
}

type simulatedMinute struct {
	Time        time.Time    `json:"time"`
	Key         *store.KeyID `json:"key"`
	Requests    int64        `json:"requests"`
	WouldRefuse int64        `json:"would_refuse"`
}

// Check implements [rest.Checker].
func (in *proposal) Check(*rest.Call) error {
	_, err := in.rule()
	return err
}

// rule is the valid rule that in proposes.
func (in *proposal) rule() (store.LimitRule, error) {
	var faults fault.List
	r := store.LimitRule{Name: "proposal", Per: store.PerAccount}
	switch {
	case (in.PerMinute == nil) == (in.Rule == nil):
		faults.Add(rest.Invalid("requests_per_minute", "is required, or else rule; not both"))
	case in.Rule != nil:
		var err error
		if r, err = in.Rule.rule("rule."); in.Burst != nil {
			faults.Add(rest.Invalid("burst", "goes into the rule"))
		}
		faults.Add(err)
	default:
		l := store.Limits{PerMinute: in.PerMinute, Burst: in.Burst}
		for _, n := range []*int64{l.PerMinute, l.Burst} {
			if n != nil && (*n < 1 || *n > maxPerMinute) {
				faults.Add(rest.Invalid("requests_per_minute", "and burst must be whole numbers from 1 to %d", maxPerMinute))
			}
		}
		r.Requests, r.Burst = *in.PerMinute, in.Burst
	}
	if in.Type != nil {
		t := store.Test
		if err := t.UnmarshalText([]byte(*in.Type)); err != nil {
			faults.Add(rest.Invalid("type", `must be "test" or "live"`))
		}
		r.Match.Type = &t
	}
	if in.From != nil && in.To != nil && !in.From.Before(*in.To) {
		faults.Add(rest.Invalid("to", "must be after from"))
	}
	return r, faults.Err()
}

// Run answers what the proposal would have refused, by this node's record.
func (h *Simulate) Run(c *rest.Call, in *proposal) (*simulation, error) {
	rule, err := in.rule()
	if err != nil {
		return nil, err
	}
	if err := c.Export(); err != nil {
		return nil, err
	}
	step := local.StepMinute
	out := &simulation{Resolution: limiter.EachMinute.String(), Limit: rule.Requests, Window: rule.Window.String(), To: c.Now.UTC()}
	if rule.Window.Calendar() {
		step, out.Resolution = local.StepHour, limiter.EachHour.String()
	}
	if in.To != nil && in.To.Before(c.Now) {
		out.To = in.To.UTC()
	}
	out.From = out.To.Add(-local.Kept(step))
	if kept := c.Now.Add(-local.Kept(step)).UTC(); in.From != nil && in.From.After(kept) {
		out.From = in.From.UTC()
	} else if out.From.Before(kept) {
		out.From = kept
	}
	r := &replay{window: rule.Window, limit: rule.Requests, counts: make(map[string][]load)}
	if rule.Burst != nil {
		r.burst = *rule.Burst
	}
	unknown := int64(0) // refused requests, whose units are not known
	err = h.Local.Replay(c.Account, step, out.From, out.To, func(t *local.Traffic) error {
		if in.Key != nil && string(t.Key) != *in.Key || !picks(&rule, t) {
			return nil
		}
		units := t.Units
		if t.Status == http.StatusTooManyRequests {
			units += t.Denied
			unknown += t.Denied
		}
		count := t.Type.String()
		if rule.Per == store.PerKey {
			count = string(t.Key)
		}
		r.add(t.Time.UTC(), count, units)
		return nil
	})
	if errors.Is(err, local.ErrTooWide) {
		return nil, rest.Invalid("from", "%v", local.ErrTooWide)
	}
	if err != nil {
		return nil, err
	}
	out.fill(r.run(), rule.Per == store.PerKey)
	out.Notes = notes(&rule, unknown, in.From != nil && in.From.Before(out.From))
	return out, nil
}

func (out *simulation) fill(o outcome, perKey bool) {
	out.Requests, out.WouldRefuse, out.LowestLimit = o.units, spread{o.even, o.atOnce}, lowest{o.lowestEven, o.certain}
	out.FirstRefusals = make([]simulatedMinute, len(o.refusals))
	for i, f := range o.refusals {
		m := simulatedMinute{Time: f.at, Requests: f.units, WouldRefuse: f.refused}
		if perKey {
			m.Key = some(store.KeyID(f.key))
		}
		out.FirstRefusals[i] = m
	}
}

// picks reports whether rule is for the traffic t. Records have no paths, so a rule for a
// route is for the configured routes that are covered by its pattern.
func picks(rule *store.LimitRule, t *local.Traffic) bool {
	m := &rule.Match
	switch {
	case t.Key == "", m.Type != nil && *m.Type != t.Type, m.Environment != nil && *m.Environment != t.Environment:
		return false
	case m.Route == nil:
		return true
	}
	p := pattern.Compile(*m.Route)
	return p.String() == t.Route || p.MatchPath(t.Route)
}

// notes says what the record cannot show.
func notes(rule *store.LimitRule, unknown int64, cut bool) []string {
	out := []string{"Only the traffic of the node that was asked is in it."}
	if rule.Window.Calendar() {
		out = append(out, "A day or month that began before from is counted from there.")
	} else {
		out = append(out, "A record tells how many requests came in a minute, not when within it: even assumes that they were spread over it, at_once that all came "+
			"at its begin. Real traffic lies between, or above at_once where two minutes met. lowest_limit.certain refuses nothing whenever they came.")
	}
	if cut {
		out = append(out, fmt.Sprintf("Minutes are kept for %d hours and hours for %d days; what came before is not in it.",
			int(local.Kept(local.StepMinute).Hours()), int(local.Kept(local.StepHour).Hours())/24))
	}
	if unknown > 0 {
		out = append(out, fmt.Sprintf("%d requests were refused by limits then; each counts as one unit here.", unknown))
	}
	if rule.Match.Route != nil {
		out = append(out, "Records have the configured route of a request, not its path or method: the rule counts the routes that its pattern covers.")
	}
	return out
}
