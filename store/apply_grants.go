package store

import (
	"encoding/binary"

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
	Month   int       `json:"month"` // months since year 0, UTC
	Want    int64     `json:"want,omitzero"`
	Give    int64     `json:"give,omitzero"`
}

func init() { register[Grant]("grant") }

// traits: a grant is small, and without it the node stops proxying, so a full disk
// does not refuse it.
func (*Grant) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: Yes, Level: 1, Events: noEvents}
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
	if ask.Month < Month(t.when.now())-monthSkew || ask.Month > Month(t.when.wall())+monthSkew || ask.Type >= keyTypes {
		return Granted{}
	}
	limit, counted, ok := ask.monthLimit(t)
	if !ok {
		return Granted{}
	}
	row := monthRow(ask.Month, ask.Account, ask.Type, ask.Budget, counted)
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
		t.totals = append(t.totals, monthTotal{ask.Account, ask.Type, ask.Budget, counted, ask.Month, g.Total, t.index})
	}
	return g
}

// monthTotal is the sum that all nodes were granted of a month after the entry at index.
type monthTotal struct {
	account AccountID
	typ     KeyType
	budget  bool
	counted KeyID
	month   int
	total   int64
	index   uint64
}

// publish tells the account's meter, whichever node the units went to or came from.
func (m *monthTotal) publish(v *view) {
	cell := v.cell(m.account)
	if cell == nil {
		return
	}
	policy := limiter.MonthQuota
	switch {
	case m.budget:
		policy = limiter.Budget
	case m.counted != "":
		policy = limiter.KeyMonth
	}
	cell.Meters[m.typ].Total(string(m.counted), policy, m.month, m.total, m.index)
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
