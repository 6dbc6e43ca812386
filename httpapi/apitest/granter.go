package apitest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// granter grants months and budgets from the store, up to their limits, as the only node
// of a cluster does.
type granter struct {
	mu      sync.Mutex // from a grant until the meter has it, so that meters see grants in their order
	backend *Backend
	clock   func() (now time.Time, mono int64)
	logger  *slog.Logger
}

// Await implements [admit.Granter]. A want that fails stays open, and its request is
// answered 503.
func (g *granter) Await(_ context.Context, account store.AccountID, rec *store.Record, wants []limiter.Want) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range wants {
		if err := g.grant(account, rec, w); err != nil {
			g.logger.Error("cannot grant a month", "account", account, "policy", w.Policy.String(), "error", err)
		}
	}
}

// Ask implements [admit.Granter].
func (g *granter) Ask(account store.AccountID, rec *store.Record, wants []limiter.Want) {
	g.Await(context.Background(), account, rec, wants)
}

func (g *granter) grant(account store.AccountID, rec *store.Record, w limiter.Want) error {
	meter, counted := rec.Account.Meters[rec.Type], w.Of(string(rec.Counted().ID))
	ask := store.GrantAsk{Account: account, Type: rec.Type, Key: rec.Counted().ID, Budget: w.Policy == limiter.Budget, Rule: w.Rule, Month: w.Month}
	asker := rec.ID
	if w.Rule != "" {
		ask.Key = store.KeyID(w.Key)
	}
	if w.Policy == limiter.MonthQuota || w.Rule != "" && w.Key == "" {
		ask.Key, asker = "", "" // the count belongs to no key
	}
	if w.Policy == limiter.RuleDay {
		ask.Month, ask.Day = 0, w.Month
	}
	if w.Seed {
		total, err := g.backend.store.GrantedOf(ask)
		if err != nil {
			return err
		}
		meter.Seed(counted, w.Policy, w.Month, total)
	}
	if w.Units == 0 {
		return nil
	}
	ask.Key, ask.Want = asker, w.Units
	now, _ := g.clock()
	receipt, err := g.backend.Apply(&store.Command{
		At: now, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"},
		Change: &store.Grant{Node: "n1", Asks: []store.GrantAsk{ask}},
	})
	if err != nil {
		return err
	}
	if refusal := receipt.Result.Refusal; refusal != nil {
		return refusal
	}
	granted := receipt.Result.Granted[0]
	meter.Answered(counted, w.Policy, w.Month, limiter.Answer{N: granted.N, Total: granted.Total, Index: receipt.Result.Index})
	return nil
}
