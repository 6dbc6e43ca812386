package node

import (
	"context"
	"errors"
	"time"

	"github.com/perfgate/perfgate/store"
)

// trialEvery is the time between two looks at allowlists on trial.
const trialEvery = time.Second

// trials brings back, on the leader, allowlists that nobody has confirmed in time. What it
// needs is in the replicated state, so that the next leader goes on.
type trials struct{ *Node }

// run ends with ctx.
func (n trials) run(ctx context.Context) {
	whileLeading(ctx, n.Node, trialEvery, func() {
		if err := n.endOver(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("an allowlist on trial is not reverted yet; tried again", "error", err)
		}
	})
}

// endOver looks once.
func (n trials) endOver(ctx context.Context) error {
	over, err := store.TrialsIn(n.store).Over(n.clock.Wall())
	for _, t := range over {
		r, no := n.proposeGrant(ctx, &store.Command{
			At: n.clock.Wall(), Account: t.Account, Actor: n.startup.system(), Change: &store.AllowlistRevert{Index: t.Index},
		})
		// A conflict is a confirmation at the last moment, or cluster time behind this clock.
		if no == nil && r.Refusal != nil && r.Refusal.Reason != store.Conflict {
			no = r.Refusal
		}
		if no == nil && r.Refusal == nil {
			n.log.Info("an allowlist was not confirmed in time, and the list from before is back", "account", t.Account)
		}
		err = errors.Join(err, no)
	}
	return err
}
