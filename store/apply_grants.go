package store

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/perfgate/perfgate/limiter"
)

// maxAsks bounds one grant command.
const maxAsks = 10_000

// monthSkew is how far, in months, an ask may lie before cluster time and after the
// leader's wall clock: nodes' clocks differ at the turn of a month, and cluster time may
// be behind. No ask is for a month whose rows may be gone.
const monthSkew = 1

// Grant hands chunks of monthly quotas and budgets to a node ahead of use; one
// command carries the asks of some milliseconds. Each is granted in full or in
// part, never beyond the limit.
type Grant struct {
	Node string     `json:"node"`
	Asks []GrantAsk `json:"asks"`
}

// GrantAsk asks for N more units of one bucket's month. Limit is not part of
// it: apply reads the current one. Give returns units instead (a clean stop).
type GrantAsk struct {
	Account AccountID `json:"account"`
	Type    KeyType   `json:"type"`
	Key     KeyID     `json:"key,omitzero"` // whose limit holds, counted with its lineage; empty: the account's bucket
	Budget  bool      `json:"budget,omitzero"`
	Rule    string    `json:"rule,omitzero"` // the bucket is that of the rule with this name
	Month   int       `json:"month"`         // months since year 0, UTC; 0 for a day
	Day     int       `json:"day,omitzero"`  // days since 1970, UTC, of a rule by the day
	Want    int64     `json:"want,omitzero"`
	Give    int64     `json:"give,omitzero"`
}

func init() { register[Grant]("grant") }

// traits: a grant is small, and without it the node stops proxying, so a full disk
// does not refuse it.
func (in *Grant) traits() Traits {
	rules := slices.ContainsFunc(in.Asks, func(a GrantAsk) bool { return a.Rule != "" })
	return Traits{Takes: No, Waits: No, Vital: Yes, Level: levelOfRules(rules), Events: noEvents}
}

// apply grants each ask the units that are left, up to the number it asks for. It is no
// management action and writes no audit event.
func (in *Grant) apply(t *txn) Result {
	if len(in.Asks) > maxAsks {
		return invalid("asks", "there are more than %d", maxAsks)
	}
	r := Result{Granted: make([]Granted, len(in.Asks))}
	for i := range in.Asks {
		r.Granted[i] = in.Asks[i].extend(t)
	}
	return r
}

// extend grants the ask the units that are left, and takes back those it gives.
func (ask *GrantAsk) extend(t *txn) Granted {
	if !ask.timely(t) || ask.Type >= keyTypes {
		return Granted{}
	}
	limit, counted, ok := ask.monthLimit(t)
	if !ok {
		return Granted{}
	}
	row := ask.row(counted)
	total := unpackGranted(t.rows.get(row))
	g := Granted{Total: total}
	if ask.Give > 0 {
		g.Total -= min(ask.Give, total)
	}
	if ask.Want > 0 {
		g.N = max(0, min(ask.Want, limit-g.Total))
		g.Total += g.N
	}
	if g.Total != total {
		t.rows.put(row, binary.BigEndian.AppendUint64(nil, uint64(g.Total)))
		total := monthTotal{ask: *ask, total: g.Total, index: t.index}
		total.ask.Key = counted
		t.totals = append(t.totals, total)
	}
	return g
}

// timely reports whether the ask's month or day is near enough.
func (ask *GrantAsk) timely(t *txn) bool {
	period, of := ask.Month, Month
	if ask.Day != 0 {
		period, of = ask.Day, Day
	}
	return period >= of(t.when.now())-monthSkew && period <= of(t.when.wall())+monthSkew
}

// row is the row of the ask's bucket, which is counted as the key counted.
func (ask *GrantAsk) row(counted KeyID) []byte {
	switch {
	case ask.Rule == "":
		return monthRow(ask.Month, ask.Account, ask.Type, ask.Budget, counted)
	case ask.Day != 0:
		return ruleRow(dayRows(ask.Day), ask.Account, ask.Type, ask.Rule, counted)
	}
	return ruleRow(monthRows(ask.Month), ask.Account, ask.Type, ask.Rule, counted)
}

// Count names the ask's bucket as the calls of a meter do, and its period; Key is the key
// that it is counted as.
func (ask *GrantAsk) Count() (of string, p limiter.Policy, period int) {
	switch {
	case ask.Rule != "" && ask.Day != 0:
		return limiter.RuleOf(ask.Rule, string(ask.Key)), limiter.RuleDay, ask.Day
	case ask.Rule != "":
		return limiter.RuleOf(ask.Rule, string(ask.Key)), limiter.RuleMonth, ask.Month
	case ask.Budget:
		return string(ask.Key), limiter.Budget, ask.Month
	case ask.Key != "":
		return string(ask.Key), limiter.KeyMonth, ask.Month
	}
	return "", limiter.MonthQuota, ask.Month
}

// Day counts days since 1970, UTC.
func Day(t time.Time) int { return int(t.Unix() / (24 * 3600)) }

// monthTotal is the sum that all nodes were granted of a month or day after the entry at
// index.
type monthTotal struct {
	ask   GrantAsk // names the bucket; Key is the key that it is counted as
	total int64
	index uint64
}

// publish tells the account's meter, whichever node the units went to or came from.
func (m *monthTotal) publish(v *view) {
	if cell := v.cell(m.ask.Account); cell != nil {
		of, policy, period := m.ask.Count()
		cell.Meters[m.ask.Type].Total(of, policy, period, m.total, m.index)
	}
}

// unlimited stands for a month without a limit; totals stay far below overflow.
const unlimited = 1 << 62

// monthLimit is the current limit of the ask's bucket, and the key as which it is
// counted; false if there is no such bucket any more.
func (ask *GrantAsk) monthLimit(t *txn) (limit int64, counted KeyID, ok bool) {
	account := t.state.account(ask.Account)
	if account == nil {
		return 0, "", false
	}
	if ask.Rule != "" {
		return ask.ruleLimit(t, account)
	}
	limit = account.Limit[ask.Type].PerMonth
	if ask.Key != "" {
		k, _ := t.keys.byID(ask.Key)
		if k == nil || k.Account != ask.Account || k.Type != ask.Type {
			return 0, "", false
		}
		limit = 0
		if ask.Budget && k.MonthlyBudget != nil {
			limit = int64(*k.MonthlyBudget)
		}
		if !ask.Budget && k.Limits != nil {
			limit = value(k.Limits.PerMonth)
		}
		counted = k.lineage().ID
	} else if ask.Budget {
		return 0, "", false
	}
	if limit == 0 {
		limit = unlimited
	}
	return limit, counted, true
}

// ruleLimit is the same for a rule. A rule that is gone has no bucket, and one that is by
// itself at its end still has: only admission judges that, by its own clock.
func (ask *GrantAsk) ruleLimit(t *txn, account *AccountState) (limit int64, counted KeyID, ok bool) {
	r := account.RuleSets[ask.Type].find(ask.Rule, ask.Day != 0)
	if r == nil || r.PerKey != (ask.Key != "") || ask.Budget {
		return 0, "", false
	}
	if ask.Key != "" {
		k, _ := t.keys.byID(ask.Key)
		if k == nil || k.Account != ask.Account || k.Type != ask.Type {
			return 0, "", false
		}
		counted = k.lineage().ID
	}
	return r.Limit, counted, true
}
