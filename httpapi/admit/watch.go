package admit

import (
	"net/netip"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Watcher learns on the path of a request of what an account's owner may want to know.
// Its methods must neither wait nor allocate much: some are called for each request of an
// account that is near its limit.
type Watcher interface {
	// Exposed: a browser sent a live key, which was refused or not.
	Exposed(key *store.Record, client netip.Addr, refused bool)
	// Refused: the key's request exceeded a limit.
	Refused(key *store.Record, policy string, limit int64)
	// Spent: a part of a calendar window's limit is used that the account set as a
	// threshold, or more.
	Spent(key *store.Record, s Spent)
	// Failed: a credential was refused. The account is "" where it is not known.
	Failed(account store.AccountID, code fault.Code, hint string, client netip.Addr)
}

// Spent is the standing of one policy. Units of a budget are billionths.
type Spent struct {
	Account     *store.AccountState
	Policy      string // month, key-month, budget, or the name of a rule
	Key         string // the id that it is counted by; "" for the account's
	Limit, Used int64
	Period      int // months since year 0, or days since 1970 if Daily is set
	Daily       bool
}

// Percent is the part that is used.
func (s *Spent) Percent() int {
	if s.Used >= s.Limit {
		return 100
	}
	return int(float64(s.Used) / float64(s.Limit) * 100)
}

// watchCheck tells the watcher of the verdict on p's credential and head.
func (g *Gate) watchCheck(p *Pass, v *verdict) {
	switch {
	case g.cfg.Watcher == nil:
	case v.exposed, v.code == fault.KeyExposed:
		g.cfg.Watcher.Exposed(p.Record, p.Client, !v.exposed)
	}
}

// watchFailure tells the watcher of a credential that counts as a failure.
func (g *Gate) watchFailure(p *Pass, code fault.Code) {
	if g.cfg.Watcher == nil {
		return
	}
	var account store.AccountID
	if p.Account != nil {
		account = p.Account.ID
	}
	g.cfg.Watcher.Failed(account, code, p.Hint, p.Client)
}

// watchCharge tells the watcher of a refusal by a limit, and of calendar windows that are
// used up to a threshold. In a cluster, units that other nodes hold and have not spent
// count as used.
func (g *Gate) watchCharge(p *Pass, f *fault.Error) {
	if g.cfg.Watcher == nil {
		return
	}
	d := &p.Limits
	if f != nil && f.Policy != "" {
		_, limit, _ := d.Refusal()
		g.cfg.Watcher.Refused(p.Record, f.Policy, limit)
	}
	lowest := p.Account.LowestAlert()
	if lowest == 0 {
		return
	}
	for i := range d.States[:d.N] {
		if st := &d.States[i]; st.Policy.Calendar() {
			key := ""
			if st.Policy == limiter.KeyMonth {
				key = p.countedAs()
			}
			g.spent(p, st, lowest, st.Policy.String(), key)
		}
	}
	if d.Budget.Limit > 0 {
		g.spent(p, &d.Budget, lowest, limiter.Budget.String(), p.countedAs())
	}
	if d.Rules == nil {
		return
	}
	for i := range d.Rules.States {
		if st := &d.Rules.States[i]; (st.Policy == limiter.RuleDay || st.Policy == limiter.RuleMonth) && !st.Rule.Shadow {
			key := ""
			if st.Rule.PerKey {
				key = p.countedAs()
			}
			g.spent(p, &st.State, lowest, st.Rule.Name, key)
		}
	}
}

// countedAs is the id by which the key's own limits are counted.
func (p *Pass) countedAs() string { return string(p.Record.Counted().ID) }

// spent tells the watcher of one standing that has reached the lowest threshold.
func (g *Gate) spent(p *Pass, st *limiter.State, lowest int, policy, key string) {
	s := Spent{Account: p.Account, Policy: policy, Key: key, Limit: st.Limit, Used: st.Limit - st.Remaining, Period: p.Limits.Month}
	if st.Policy == limiter.RuleDay {
		s.Period, s.Daily = p.Limits.Day, true
	}
	if s.Percent() >= lowest {
		g.cfg.Watcher.Spent(p.Record, s)
	}
}
