package store

import "encoding/binary"

// maxAsks bounds one grant command.
const maxAsks = 10_000

// monthSkew is how far, in months, an ask may be from the command's time: nodes'
// clocks differ at the turn of a month.
const monthSkew = 1

// grant answers each ask with what is left, up to what it wants. It is no
// management action and writes no audit event.
func (t *txn) grant(in *Grant) Result {
	if len(in.Asks) > maxAsks {
		return invalid("asks", "there are more than %d", maxAsks)
	}
	r := Result{Granted: make([]Granted, len(in.Asks))}
	for i := range in.Asks {
		r.Granted[i] = t.extend(&in.Asks[i])
	}
	return r
}

func (t *txn) extend(ask *GrantAsk) Granted {
	if skew := ask.Month - Month(t.at); skew < -monthSkew || skew > monthSkew || ask.Type >= keyTypes {
		return Granted{}
	}
	limit, ok := t.monthLimit(ask)
	if !ok {
		return Granted{}
	}
	row := monthRow(ask.Month, ask.Account, ask.Type, ask.Budget, ask.Key)
	total := unpackGranted(t.get(row))
	g := Granted{Total: total}
	if ask.Give > 0 {
		g.Total -= min(ask.Give, total)
	}
	if ask.Want > 0 {
		g.N = max(0, min(ask.Want, limit-g.Total))
		g.Total += g.N
	}
	if g.Total != total {
		t.put(row, binary.BigEndian.AppendUint64(nil, uint64(g.Total)))
	}
	return g
}

// unlimited stands for a month without a limit; totals stay far below overflow.
const unlimited = 1 << 62

// monthLimit is the current limit of an ask's bucket; false if there is no such
// bucket any more.
func (t *txn) monthLimit(ask *GrantAsk) (int64, bool) {
	account := t.account(ask.Account)
	if account == nil {
		return 0, false
	}
	limit := account.Limit[ask.Type].PerMonth
	if ask.Key != "" {
		k, _ := t.keyByID(ask.Key)
		if k == nil || k.Account != ask.Account || k.Type != ask.Type {
			return 0, false
		}
		limit = 0
		if ask.Budget && k.MonthlyBudget != nil {
			limit = int64(*k.MonthlyBudget)
		}
		if !ask.Budget && k.Limits != nil {
			limit = value(k.Limits.PerMonth)
		}
	} else if ask.Budget {
		return 0, false
	}
	if limit == 0 {
		limit = unlimited
	}
	return limit, true
}
