package manage

import (
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/pattern"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// limitsView is [store.Limits] with every member shown.
type limitsView struct {
	PerMinute     *int64 `json:"requests_per_minute"`
	Burst         *int64 `json:"burst"`
	PerMonth      *int64 `json:"requests_per_month"`
	MaxConcurrent *int64 `json:"max_concurrent"`
}

// viewLimits shows limits; those that set nothing are none.
func viewLimits(l *store.Limits) *limitsView {
	if l == nil || *l == (store.Limits{}) {
		return nil
	}
	return (*limitsView)(l.Enforced())
}

// ruleView is a limit rule as the API shows it.
type ruleView struct {
	Name     string        `json:"name"`
	Match    matchView     `json:"match"`
	Per      store.RulePer `json:"per"`
	Requests int64         `json:"requests"`
	Window   string        `json:"window"`
	Burst    *int64        `json:"burst"`
	Shadow   bool          `json:"shadow"`
	Until    *time.Time    `json:"until"`
}

type matchView struct {
	Type        *store.KeyType `json:"type"`
	Environment *string        `json:"environment"`
	Route       *string        `json:"route"`
}

func viewRules(rules []store.LimitRule) []ruleView {
	out := make([]ruleView, len(rules))
	for i, r := range rules {
		out[i] = ruleView{r.Name, matchView(r.Match), r.Per, r.Requests, r.Window.String(), r.Burst, r.Shadow, when(r.Until)}
	}
	return out
}

// ruleBody is a limit rule as clients send it.
type ruleBody struct {
	Name  *string `json:"name"`
	Match *struct {
		Type        *string `json:"type"`
		Environment *string `json:"environment"`
		Route       *string `json:"route"`
	} `json:"match"`
	Per      *string    `json:"per"`
	Requests *int64     `json:"requests"`
	Window   *string    `json:"window"`
	Burst    *int64     `json:"burst"`
	Shadow   *bool      `json:"shadow"`
	Until    *time.Time `json:"until"`
}

// rulesOf validates rules and names every fault of each.
func rulesOf(field string, bodies []ruleBody) ([]store.LimitRule, error) {
	if len(bodies) > store.MaxRules {
		return nil, rest.Invalid(field, "has %d rules, and there may be %d", len(bodies), store.MaxRules)
	}
	var faults fault.List
	names := make(map[string]bool, len(bodies))
	out := make([]store.LimitRule, len(bodies))
	for i := range bodies {
		at := field + "." + strconv.Itoa(i) + "."
		r, err := bodies[i].rule(at)
		if faults.Add(err); r.Name != "" && names[r.Name] {
			faults.Add(rest.Invalid(at+"name", "is the name of an earlier rule, too"))
		}
		names[r.Name], out[i] = true, r
	}
	return out, faults.Err()
}

// rule validates b, whose members are at the pointer prefix at.
func (b *ruleBody) rule(at string) (r store.LimitRule, err error) {
	var faults fault.List
	invalid := func(member, format string, args ...any) { faults.Add(rest.Invalid(at+member, format, args...)) }
	switch {
	case b.Name == nil:
		invalid("name", "is required")
	case !store.ValidRuleName(*b.Name) || apikey.Holds(*b.Name):
		invalid("name", `must be 1–64 of A–Z, a–z, 0–9, ".", "_" and "-", and none of minute, month, key-minute, key-month and budget`)
	default:
		r.Name = *b.Name
	}
	switch {
	case b.Per == nil:
		invalid("per", "is required")
	case *b.Per != string(store.PerAccount) && *b.Per != string(store.PerKey):
		invalid("per", `must be "account" or "key"`)
	default:
		r.Per = store.RulePer(*b.Per)
	}
	window, known := limiter.EachMinute, false
	if b.Window == nil {
		invalid("window", "is required")
	} else if window, known = limiter.ParseWindow(*b.Window); !known {
		invalid("window", `must be "1m", "1h", "1d" or "month"`)
	}
	r.Window = window
	switch most := store.MostOfRule(window); {
	case b.Requests == nil:
		invalid("requests", "is required")
	case *b.Requests < 1 || *b.Requests > most:
		invalid("requests", "must be a whole number from 1 to %d", most)
	default:
		r.Requests = *b.Requests
	}
	if b.Burst != nil {
		switch {
		case known && window.Calendar():
			invalid("burst", "is for windows of 1m and 1h only: a day or a month may be used at once")
		case *b.Burst < 1 || *b.Burst > maxPerMinute:
			invalid("burst", "must be a whole number from 1 to %d, or null", maxPerMinute)
		}
		r.Burst = b.Burst
	}
	r.Shadow = b.Shadow != nil && *b.Shadow
	if b.Until != nil {
		if r.Until = b.Until.UTC(); r.Until.Year() > 9998 || r.Until.Year() < 1970 {
			invalid("until", "is too far away")
		}
	}
	r.Match, err = b.match(at)
	faults.Add(err)
	return r, faults.Err()
}

func (b *ruleBody) match(at string) (m store.RuleMatch, _ error) {
	if b.Match == nil {
		return m, nil
	}
	var faults fault.List
	if t := b.Match.Type; t != nil {
		if err := new(store.KeyType).UnmarshalText([]byte(*t)); err != nil {
			faults.Add(rest.Invalid(at+"match.type", `must be "test" or "live"`))
		} else if m.Type = new(store.Test); *t == store.Live.String() {
			*m.Type = store.Live
		}
	}
	if m.Environment = b.Match.Environment; m.Environment != nil {
		faults.Add(checkText(at+"match.environment", *m.Environment, 0, maxEnvironment))
	}
	if m.Route = b.Match.Route; m.Route != nil {
		if len(*m.Route) > pattern.MaxLen || apikey.Holds(*m.Route) {
			faults.Add(rest.Invalid(at+"match.route", "must be a route's pattern, such as /v1/chat, of at most %d characters", pattern.MaxLen))
		} else if _, err := pattern.Parse(*m.Route); err != nil {
			faults.Add(rest.Invalid(at+"match.route", "%v", err))
		}
	}
	return m, faults.Err()
}
