package store

import (
	"slices"
	"time"

	"github.com/perfgate/perfgate/limiter"
)

// LimitRule is one more policy of an account, beside its limits, for the requests of keys
// that Match picks.
type LimitRule struct {
	Name     string         `json:"name"` // see [ValidRuleName]
	Match    RuleMatch      `json:"match,omitzero"`
	Per      RulePer        `json:"per"`
	Requests int64          `json:"requests"` // units in each window
	Window   limiter.Window `json:"window"`
	Burst    *int64         `json:"burst,omitzero"` // of a minute or an hour; nil: Requests
	Shadow   bool           `json:"shadow,omitzero"`
	Until    time.Time      `json:"until,omitzero"` // the rule ends by itself; zero: never
}

// RuleMatch picks requests; a nil member picks all. Keys of the two types are counted
// apart, whether or not Type is set.
type RuleMatch struct {
	Type        *KeyType `json:"type,omitzero"`
	Environment *string  `json:"environment,omitzero"` // of the key
	Route       *string  `json:"route,omitzero"`       // a pattern, as in a key's routes
}

// RulePer says who has a count of a rule.
type RulePer string

// The counts of a rule.
const (
	PerAccount RulePer = "account" // one, for all keys of a type
	PerKey     RulePer = "key"     // each key its own, counted with its lineage
)

// MaxRules is how many rules an account may have, those of its tier included.
const MaxRules = limiter.MaxRules

// maxRuleName bounds a rule's name, in bytes: it stands in headers of every response.
const maxRuleName = 64

// ValidRuleName reports whether a rule may be called name: 1–64 letters, digits, ".", "_"
// and "-", and not as one of the limits, "budget" included, that stand beside it.
func ValidRuleName(name string) bool {
	for p := limiter.Minute; p <= limiter.Budget; p++ {
		if name == p.String() {
			return false
		}
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxRuleName
}

// Rule is a limit rule as admission applies it to keys of one type.
type Rule struct {
	limiter.Rule
	Created     uint64  // Raft index; nothing was charged to its count before
	Until       int64   // Unix nanoseconds; 0: it does not end
	Environment *string // of the keys that it is for; nil: of all
	Routes      Routes  // nil: every route
}

// RuleSet are the rules of an account for the keys of one type.
type RuleSet struct {
	List []Rule // the tier's, then the account's own
	// Keyed says that a rule is per key or for an environment, so that admission needs
	// the key's [Detail].
	Keyed bool
}

// find returns the rule with the name and the window; nil if there is none.
func (s *RuleSet) find(name string, day bool) *Rule {
	window := limiter.EachMonth
	if day {
		window = limiter.EachDay
	}
	for i := range s.List {
		if r := &s.List[i]; r.Name == name && r.Window == window {
			return r
		}
	}
	return nil
}

// ruleCompiler makes rule sets. The sets of accounts without rules of their own are those
// of their tier, made once.
type ruleCompiler struct {
	routes func([]string) Routes // [Config.Routes]
	tiers  map[*Tier][keyTypes]RuleSet
}

func newRuleCompiler(routes func([]string) Routes) *ruleCompiler {
	return &ruleCompiler{routes: routes, tiers: make(map[*Tier][keyTypes]RuleSet)}
}

func (c *ruleCompiler) sets(a *Account, tier *Tier) [keyTypes]RuleSet {
	if len(a.Rules) > 0 {
		return c.compile(a, tier)
	}
	if len(tier.Rules) == 0 {
		return [keyTypes]RuleSet{}
	}
	sets, ok := c.tiers[tier]
	if !ok {
		sets = c.compile(a, tier)
		c.tiers[tier] = sets
	}
	return sets
}

func (c *ruleCompiler) compile(a *Account, tier *Tier) (sets [keyTypes]RuleSet) {
	add := func(r *LimitRule, created map[string]uint64) {
		for t := range sets {
			if r.Match.Type != nil && *r.Match.Type != KeyType(t) {
				continue
			}
			s := &sets[t]
			s.List = append(s.List, c.rule(r, created))
			s.Keyed = s.Keyed || r.Per == PerKey || r.Match.Environment != nil
		}
	}
	for i := range tier.Rules {
		if r := &tier.Rules[i]; !hasRule(a.Rules, r.Name) {
			add(r, tier.RulesCreated)
		}
	}
	for i := range a.Rules {
		add(&a.Rules[i], a.RulesCreated)
	}
	return sets
}

func (c *ruleCompiler) rule(r *LimitRule, created map[string]uint64) Rule {
	out := Rule{
		Rule: limiter.Rule{
			Name: r.Name, Window: r.Window, PerKey: r.Per == PerKey, Shadow: r.Shadow, Limit: r.Requests, Burst: value(r.Burst),
		},
		Created: created[r.count()], Until: unixNano(r.Until), Environment: r.Match.Environment,
	}
	if r.Match.Route != nil {
		out.Routes = c.routes([]string{*r.Match.Route})
	}
	return out
}

// count names the rule's count: a rule with the same one goes on with it.
func (r *LimitRule) count() string { return r.Name + " " + r.Window.String() + " " + string(r.Per) }

func hasRule(rules []LimitRule, name string) bool {
	return slices.ContainsFunc(rules, func(r LimitRule) bool { return r.Name == name })
}

// rulesOf is how many rules an account with these of its own has in the tier.
func rulesOf(own []LimitRule, tier *Tier) (n int) {
	for i := range tier.Rules {
		if !hasRule(own, tier.Rules[i].Name) {
			n++
		}
	}
	return n + len(own)
}

// rulesCreated gives each of rules the index since which its count exists: those of old
// keep theirs.
func rulesCreated(rules []LimitRule, old map[string]uint64, index uint64) map[string]uint64 {
	if len(rules) == 0 {
		return nil
	}
	out := make(map[string]uint64, len(rules))
	for i := range rules {
		name := rules[i].count()
		if out[name] = index; old[name] != 0 {
			out[name] = old[name]
		}
	}
	return out
}

// checkRules checks rules on their own.
func checkRules(rules []LimitRule) *Refusal {
	if len(rules) > MaxRules {
		return invalid("limit_rules", "there may be %d", MaxRules).Refusal
	}
	for i := range rules {
		r := &rules[i]
		switch {
		case !ValidRuleName(r.Name):
			return invalid("limit_rules", "rule %d: %q is not a name for a rule", i+1, r.Name).Refusal
		case hasRule(rules[:i], r.Name):
			return invalid("limit_rules", "two rules are called %q", r.Name).Refusal
		case r.Per != PerAccount && r.Per != PerKey:
			return invalid("limit_rules", "%s: per must be account or key", r.Name).Refusal
		case r.Window > limiter.EachMonth, r.Match.Type != nil && *r.Match.Type >= keyTypes:
			return invalid("limit_rules", "%s: the window or the type is unknown", r.Name).Refusal
		case r.Requests < 1 || r.Requests > MostOfRule(r.Window):
			return invalid("limit_rules", "%s: requests must be 1 to %d", r.Name, MostOfRule(r.Window)).Refusal
		case r.Burst != nil && (r.Window.Calendar() || *r.Burst < 1 || *r.Burst > MaxPerMinute):
			return invalid("limit_rules", "%s: burst must be 1 to %d, of a window of a minute or an hour", r.Name, MaxPerMinute).Refusal
		case r.Match.Environment != nil && len(*r.Match.Environment) > maxName, r.Match.Route != nil && len(*r.Match.Route) > maxWord:
			return invalid("limit_rules", "%s: the environment or the route is too long", r.Name).Refusal
		}
	}
	return nil
}

// MostOfRule bounds the requests of a rule: those of a bucket by what one can hold.
func MostOfRule(w limiter.Window) int64 {
	if w.Calendar() {
		return MaxRequests
	}
	return MaxPerMinute
}

// levelOfRules is 1, or [LevelOfRules] where it is needed: there are rules, or one of
// limits bounds the requests in flight.
func levelOfRules(rules bool, limits ...*Limits) int {
	if rules || slices.ContainsFunc(limits, func(l *Limits) bool { return l != nil && l.MaxConcurrent != nil }) {
		return LevelOfRules
	}
	return 1
}

// LevelOfRules is the level of limit rules and of [Limits.MaxConcurrent].
const LevelOfRules = 5
