package admit

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// Standing is what is left of one policy.
type Standing struct {
	Policy           string
	Limit, Remaining int64 // units, or billionths of the currency unit
	Window           string
	Reset            int64 // Unix seconds at which it is whole again
	Shadow           bool
	Money            bool
}

// Standing tells the standing of every policy that applies to requests of key, whatever
// their route, or, if key is nil, to those of all keys of the account and the type t
// together. It charges nothing.
func (g *Gate) Standing(ctx context.Context, account store.AccountID, key *store.Record, t store.KeyType, now time.Time) ([]Standing, *fault.Error) {
	matching := anyRequest
	if key == nil {
		cell := g.cfg.Store.Cell(account)
		if cell == nil {
			return nil, fault.New(fault.NotFound)
		}
		key, matching = &store.Record{Account: cell, Type: t, Extra: new(store.Extra)}, ofAccount
	}
	p := Pass{Record: key, Account: key.Account.Load(), Valid: true}
	if p.Account == nil {
		return nil, fault.New(fault.NotFound)
	}
	a := g.ask(&p) // for no units
	if f := g.addRules(&p, &a, matching); f != nil {
		return nil, f
	}
	if f := g.take(ctx, &p, &a, now); f != nil {
		return nil, f
	}
	d := &p.Limits
	var out []Standing
	add := func(name, window string, st *limiter.State) *Standing {
		out = append(out, Standing{Policy: name, Limit: st.Limit, Remaining: shown(st), Window: window, Reset: resetAt(now, st.Reset)})
		return &out[len(out)-1]
	}
	for i := range d.States[:d.N] {
		st := &d.States[i]
		window := limiter.EachMinute
		if st.Policy.Calendar() {
			window = limiter.EachMonth
		}
		add(st.Policy.String(), window.String(), st)
	}
	if d.Budget.Limit > 0 {
		add(limiter.Budget.String(), limiter.EachMonth.String(), &d.Budget).Money = true
	}
	if d.Rules == nil {
		return out, nil
	}
	for i := range d.Rules.States {
		st := &d.Rules.States[i]
		add(st.Rule.Name, st.Rule.Window.String(), &st.State).Shadow = st.Rule.Shadow
	}
	return out, nil
}
