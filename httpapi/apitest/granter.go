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
	meter, counted, budget := rec.Account.Meters[rec.Type], string(rec.Counted().ID), w.Policy == limiter.Budget
	asker, name := rec.ID, rec.Counted().ID
	if w.Policy == limiter.MonthQuota {
		asker, name = "", "" // the account's month belongs to no key
	}
	if w.Seed {
		total, err := g.backend.store.Granted(account, rec.Type, name, budget, w.Month)
		if err != nil {
			return err
		}
		meter.Seed(counted, w.Policy, w.Month, total)
	}
	if w.Units == 0 {
		return nil
	}
	now, _ := g.clock()
	receipt, err := g.backend.Apply(&store.Command{
		At: now, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"},
		Change: &store.Grant{Node: "n1", Asks: []store.GrantAsk{{Account: account, Type: rec.Type, Key: asker, Budget: budget, Month: w.Month, Want: w.Units}}},
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
